//! magnes: a trackerless BitTorrent client as a library.
