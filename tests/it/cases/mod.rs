//! The claims, one file per subject.

mod bare;
mod conversation;
mod delivery;
mod envfile;
mod guards;
mod isolation;
mod lifecycle;
mod managers;
mod matrix;
mod outputs;
mod recovery;
mod remote;
mod restart_message;
mod units;
mod verify;
mod watching;
mod yolo;
