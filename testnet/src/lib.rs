//! The test world: a virtual clock and network that step the sans-IO machines of many hosts in one process.
