//! Behaviour of an open file that needs a look inside.

mod backup;
mod fixture;
mod log;
mod overload;
mod presence;
mod puts;
mod reads;
mod restored;
mod take_over;
