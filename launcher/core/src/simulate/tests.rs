//! Of the simulator.
