//! The libraries, one per file.

pub(crate) mod cqrs_es;
mod disintegrate;
mod eventcore;
mod evento;
pub(crate) mod ours;

use crate::peer::Contestant;

/// All libraries, ours first.
pub(crate) const ALL: &[Contestant] = &[
    self::ours::SET_WISE,
    self::ours::REMEMBERING,
    self::ours::EACH,
    self::cqrs_es::CONTESTANT,
    self::eventcore::PLAIN,
    self::eventcore::EXACTLY_ONCE,
    self::evento::CONTESTANT,
    self::disintegrate::CONTESTANT,
];
