//! Several [`Swarm`](super::Swarm) machines in a world of virtual time: what they decide together.

mod disk;
mod payload;
mod uplink;
mod vice;

mod host;
mod world;

mod connections;
mod floods;
mod fuzz;
mod hostile;
mod magnets;
mod refusals;
mod serving;
mod sources;
mod transfer;
