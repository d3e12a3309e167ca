//! What only the embedded default has to show: kills, full disks, foreign files.
