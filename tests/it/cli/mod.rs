//! The commands, run as an operator runs them.

mod audit;
mod backup;
mod certificate_requests;
mod check_warnings;
mod control;
mod control_policies;
mod control_words;
mod demo;
mod distrust;
mod environment;
mod file_limits;
mod help;
mod import_blocks;
mod inspection;
mod lists_and_certificates;
mod newcomers;
mod pipes;
mod policy_check;
mod policy_serve;
mod refused_blocks;
mod second_serve;
mod secrets;
mod stopped_sums;
mod undone_blocks;
mod undone_exclusion;
mod wrong_folder;
