//! What an invocation runs: one step or several, each a command with keys and an observation of its own.
//!
//! A plan is made from the command line and its policy before anything is looked up. It runs nothing. Read next: `request.rs`,
//! and `mod.rs`, which runs the steps.

use std::io;

use super::request::Request;
use crate::compilers::Policy;
use crate::config::Config;
use crate::probe::command::Call;
use crate::shm::start::Start;
use crate::store::draft::Draft;

/// The steps of an invocation, in the order in which their texts come.
pub struct Plan {
    steps: Vec<Step>,
}

/// A command that is looked up, run and stored by itself.
pub struct Step {
    /// The command.
    pub request: Request,
    /// What is known of it.
    pub policy: Policy,
    /// The result of another directory with which this one is to be compared.
    pub elsewhere: Option<Box<Draft>>,
}

impl Plan {
    /// The whole command as one step; `None` if this process has no working directory.
    pub fn new(start: Start, call: Call, config: &Config, policy: Policy) -> Option<Plan> {
        let request = Request::new(start, call, config)?;
        Some(Plan { steps: vec![Step { request, policy, elsewhere: None }] })
    }

    /// Reads the sources that come by standard input; false if one cannot be read here. An error means that one was read
    /// and cannot be put back for the tool.
    pub fn read_sources(&mut self) -> io::Result<bool> {
        for step in &mut self.steps {
            if !step.request.read_source(&step.policy)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The steps.
    pub fn steps(&mut self) -> impl Iterator<Item = &mut Step> {
        self.steps.iter_mut()
    }
}
