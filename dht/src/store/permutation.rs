use rand_core::Rng;

/// Visits `0..len` once each in an order drawn by lot, without memory: from a random start by a stride that shares no
/// divisor with the length.
pub(super) struct Permutation {
    len: usize,
    next: usize,
    stride: usize,
    left: usize,
}

impl Permutation {
    pub(super) fn new(len: usize, rng: &mut impl Rng) -> Self {
        if len < 2 {
            return Self { len, next: 0, stride: 1, left: len };
        }
        let chance = rng.next_u64();
        let next = (chance >> 32) as usize % len;
        let mut stride = 1 + chance as u32 as usize % (len - 1);
        while greatest_common_divisor(stride, len) != 1 {
            stride -= 1;
        }
        Self { len, next, stride, left: len }
    }
}

impl Iterator for Permutation {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let index = self.next;
        // The stride is shorter than the length, so that one subtraction does what a division would.
        self.next += self.stride;
        if self.next >= self.len {
            self.next -= self.len;
        }
        Some(index)
    }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
