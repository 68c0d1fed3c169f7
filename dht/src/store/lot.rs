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

/// A cheap sequence of numbers for choices that need not be unpredictable to anybody who knows the seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Lots(u64);

impl Lots {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`; 0 if that is 0.
    pub(super) fn draw(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * limit as u128) >> 64) as usize
    }
}
