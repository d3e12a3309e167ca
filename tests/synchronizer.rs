//! What a synchronizer promises, on the reference backends.

mod acknowledgements;
mod at_least;
mod quarantine;
mod rebuilds;
mod set_up;
mod sweeps;
mod trouble;
mod turns;
