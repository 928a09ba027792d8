//! The claims, one file per subject.

mod approval;
mod bare;
mod conversation;
mod courier;
mod delivery;
mod envfile;
mod faults;
mod goosed_stand_in;
mod guards;
mod isolation;
mod lifecycle;
mod load;
mod mailbox;
mod managers;
mod matrix;
mod outputs;
mod recovery;
mod remote;
mod reset;
mod restart_message;
mod runtimes;
mod taken_back;
mod units;
mod verify;
mod watching;
mod yolo;
