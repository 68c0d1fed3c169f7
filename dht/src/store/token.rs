use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand_core::Rng;
use siphasher::sip::SipHasher24;

use crate::Target;

/// How long one epoch of tokens lasts (BEP 5 suggests five minutes).
pub const TOKEN_EPOCH: Duration = Duration::from_secs(300);

/// Epochs before the current one whose tokens are accepted, so that a token lives at least ten minutes.
const EPOCHS_BACK: u64 = 2;

/// A write token as it goes over the wire: eight bytes, opaque to everyone else.
pub type Token = [u8; 8];

/// Issues and verifies the tokens that prove that someone who announces or puts does receive at its address (BEP 5).
///
/// A token is a keyed MAC (SipHash-2-4) over the requester's address, the target and the epoch: nothing is stored for
/// it, and without the key none can be forged or carried over to another address or target.
#[derive(Debug, Clone)]
pub struct Tokens {
    key: SipHasher24,
    start: Instant,
}

impl Tokens {
    /// Tokens under a fresh key. `start` begins the first epoch.
    pub fn new(start: Instant, rng: &mut impl Rng) -> Self {
        Self { key: SipHasher24::new_with_keys(rng.next_u64(), rng.next_u64()), start }
    }

    /// The token to give to `ip`, valid for `target` only.
    pub fn issue(&self, now: Instant, ip: IpAddr, target: &Target) -> Token {
        self.mac(self.epoch(now), ip, target)
    }

    /// Whether `token` was issued to `ip` for `target` in the current or one of the two earlier epochs.
    ///
    /// Takes the same time whatever the bytes are.
    pub fn verify(&self, now: Instant, ip: IpAddr, target: &Target, token: &[u8]) -> bool {
        let Ok(token) = Token::try_from(token) else {
            return false;
        };
        let epoch = self.epoch(now);
        let mut accepted = false;
        for epoch in epoch.saturating_sub(EPOCHS_BACK)..=epoch {
            accepted |= is_equal_constant_time(&self.mac(epoch, ip, target), &token);
        }
        accepted
    }

    fn epoch(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / TOKEN_EPOCH.as_secs()
    }

    fn mac(&self, epoch: u64, ip: IpAddr, target: &Target) -> Token {
        // A fixed layout; the family stands in front so that no v4 address equals a v6 one.
        let mut message = [0u8; 45];
        match ip {
            IpAddr::V4(ip) => message[1..5].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => {
                message[0] = 1;
                message[1..17].copy_from_slice(&ip.octets());
            }
        }
        message[17..37].copy_from_slice(target.as_bytes());
        message[37..].copy_from_slice(&epoch.to_be_bytes());
        self.key.hash(&message).to_be_bytes()
    }
}

fn is_equal_constant_time(a: &Token, b: &Token) -> bool {
    let difference = a.iter().zip(b).fold(0u8, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    const TARGET: Target = Target::new([7; 20]);

    fn tokens(start: Instant, seed: u8) -> Tokens {
        Tokens::new(start, &mut ChaCha8Rng::from_seed([seed; 32]))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_lives_for_its_epoch_and_two_more() {
        let start = Instant::now();
        let tokens = tokens(start, 1);
        let token = tokens.issue(start, ip("1.2.3.4"), &TARGET);
        for age_s in [0, 299, 300, 899] {
            assert!(tokens.verify(start + Duration::from_secs(age_s), ip("1.2.3.4"), &TARGET, &token), "{age_s} s");
        }
        for age_s in [900, 1200, 86_400] {
            assert!(!tokens.verify(start + Duration::from_secs(age_s), ip("1.2.3.4"), &TARGET, &token), "{age_s} s");
        }
    }

    #[test]
    fn a_token_serves_one_address_one_target_and_one_key() {
        let start = Instant::now();
        let mine = tokens(start, 1);
        let token = mine.issue(start, ip("1.2.3.4"), &TARGET);
        assert!(!mine.verify(start, ip("1.2.3.5"), &TARGET, &token));
        assert!(!mine.verify(start, ip("102:304::"), &TARGET, &token), "same leading bytes, other family");
        assert!(!mine.verify(start, ip("1.2.3.4"), &Target::new([8; 20]), &token));
        assert!(!tokens(start, 2).verify(start, ip("1.2.3.4"), &TARGET, &token));
    }

    #[test]
    fn tokens_of_other_lengths_and_flipped_bits_are_refused() {
        let start = Instant::now();
        let tokens = tokens(start, 1);
        let token = tokens.issue(start, ip("2001:db8::1"), &TARGET);
        assert!(tokens.verify(start, ip("2001:db8::1"), &TARGET, &token));
        for len in 0..8 {
            assert!(!tokens.verify(start, ip("2001:db8::1"), &TARGET, &token[..len]));
        }
        assert!(!tokens.verify(start, ip("2001:db8::1"), &TARGET, &[0; 128]));
        for bit in 0..64 {
            let mut forged = token;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!tokens.verify(start, ip("2001:db8::1"), &TARGET, &forged), "bit {bit}");
        }
    }
}
