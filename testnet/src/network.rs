use std::f64::consts::TAU;
use std::time::Duration;

use rand_core::Rng;

/// How datagrams travel: how long, and how many do not arrive.
///
/// The delay of a datagram is the mean of what its two hosts have, times a jitter of its own. Both are lognormal, which
/// is what measured delays of the Internet look like: most are near the median, and a few are many times longer.
#[derive(Debug, Clone)]
pub struct Network {
    /// Median of what a host contributes; the median of the round trip of a pair is about twice as long.
    pub delay_median: Duration,
    /// How far hosts lie apart: the standard deviation of the logarithm.
    pub delay_sigma: f64,
    /// The same for one datagram to the next between the same hosts.
    pub jitter_sigma: f64,
    /// Share of the datagrams that get lost.
    pub loss: f64,
}

impl Default for Network {
    /// Round trips of about 130 ms at the median, and a loss of 2 %.
    fn default() -> Self {
        Self { delay_median: Duration::from_millis(60), delay_sigma: 0.6, jitter_sigma: 0.25, loss: 0.02 }
    }
}

impl Network {
    /// Without chance: every datagram arrives after `delay`.
    pub fn exact(delay: Duration) -> Self {
        Self { delay_median: delay, delay_sigma: 0.0, jitter_sigma: 0.0, loss: 0.0 }
    }

    /// Draws what a host contributes to the delays of its datagrams.
    pub(crate) fn draw_host_delay(&self, rng: &mut impl Rng) -> Duration {
        self.delay_median.mul_f64((self.delay_sigma * gaussian(rng)).exp())
    }

    /// Draws the delay of one datagram between hosts with these delays; `None` is a lost one.
    pub(crate) fn draw_delay(&self, from: Duration, to: Duration, rng: &mut impl Rng) -> Option<Duration> {
        if unit(rng) < self.loss {
            return None;
        }
        Some(self.draw_travel(from, to, rng))
    }

    /// The delay of one that arrives.
    pub(crate) fn draw_travel(&self, from: Duration, to: Duration, rng: &mut impl Rng) -> Duration {
        ((from + to) / 2).mul_f64((self.jitter_sigma * gaussian(rng)).exp())
    }
}

/// A number from 0 to below 1.
pub(crate) fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number with the normal distribution (Box and Muller 1958).
fn gaussian(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (TAU * unit(rng)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    #[test]
    fn round_trips_have_the_median_and_the_loss_that_is_said() {
        let (network, mut rng) = (Network::default(), ChaCha8Rng::from_seed([1; 32]));
        let mut round_trips_ms = Vec::new();
        let mut lost = 0;
        for _ in 0..20_000 {
            let (left, right) = (network.draw_host_delay(&mut rng), network.draw_host_delay(&mut rng));
            let there = network.draw_delay(left, right, &mut rng);
            let back = network.draw_delay(right, left, &mut rng);
            lost += [there, back].iter().filter(|delay| delay.is_none()).count();
            round_trips_ms.extend(there.zip(back).map(|(there, back)| (there + back).as_millis()));
        }
        round_trips_ms.sort_unstable();
        let median_ms = round_trips_ms[round_trips_ms.len() / 2];
        assert!((125..140).contains(&median_ms), "{median_ms} ms");
        assert!((600..1000).contains(&lost), "{lost} of 40,000 lost");
    }
}
