//! The claims, one file per subject.

mod approval;
mod bare;
mod conversation;
mod delivery;
mod envfile;
mod guards;
mod isolation;
mod lifecycle;
mod managers;
mod outputs;
mod recovery;
mod remote;
mod restart_message;
mod runtimes;
mod units;
mod verify;
mod watching;
mod yolo;
