//! What one [`Swarm`](super::Swarm) machine does with whatever peers say. What several of them decide together is in
//! `testnet/tests/swarm/`.

mod disk;
mod payload;

mod floods;
mod fuzz;
