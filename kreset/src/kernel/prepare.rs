//! From a request to everything attached: facts -> plan -> apply. What does not
//! load against expectation becomes a fact, and the plan is made again.

use std::{num::NonZeroU32, path::Path};

use kreset_common::counter;
use thiserror::Error;

use super::{
    apply::{ApplyError, Attached, KernelTypes},
    facts::{Availability, BTF, KernelFacts},
    netns::NetnsError,
    plan::{Plan, Refusal, Request, plan as make_plan},
    privilege::{PrivilegeError, lift_locked_memory_limit},
};
use crate::util::{exit::Exit, ports::PortSet};

/// Why kreset cannot start here.
#[derive(Debug, Error)]
pub enum CannotStart {
    /// What this process may do cannot be read.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// `--netns` names no network namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel, or these privileges, do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The kernel refused what the plan believed that it would take.
    #[error("cannot attach to the kernel: {0}")]
    Attach(#[from] ApplyError),
}

impl CannotStart {
    /// The exit code for scripts.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            // A name that names nothing is a slip on the command line.
            Self::Netns(error) if !error.is_denied() => Exit::Usage,
            _ => Exit::CannotStart,
        }
    }
}

/// A run that is attached.
#[derive(Debug)]
pub struct Ready {
    /// The kernel side.
    pub attached: Attached,
    /// What was decided.
    pub plan: Plan,
    /// Ticks of jiffies per second.
    pub hz: NonZeroU32,
    /// Connections and listeners that were there already.
    pub seeded: u64,
}

/// Attaches what `request` asks for, as far as this kernel allows.
///
/// # Errors
///
/// If something that kreset cannot do without, or that was required, does not
/// work here.
pub fn attach(request: &Request, ports: &PortSet) -> Result<Ready, CannotStart> {
    // Before 5.11 maps count against this limit (kernel: bpf_charge_memlock),
    // those of trial loads too.
    let _stays_as_it_is = lift_locked_memory_limit();
    let mut facts = KernelFacts::collect(Path::new(BTF))?;
    // Read once, and only after a plan: what refuses comes first.
    let mut types = None;
    loop {
        let mut plan = make_plan(&facts, request)?;
        plan.set_port_ranges(ports);
        let types = match &types {
            Some(types) => types,
            None => types.insert(KernelTypes::load()?),
        };
        let mut attached = match Attached::new(&plan, ports, types) {
            Ok(attached) => attached,
            Err(ApplyError::Packets { reason }) if plan.cgroup.is_some() => {
                facts.loads.packet_programs = Availability::Failed(reason);
                continue;
            }
            Err(ApplyError::FunctionEntries { reason }) if plan.settings.fentry != 0 => {
                facts.loads.function_entries = Availability::Failed(reason);
                continue;
            }
            Err(ApplyError::Optional { program, reason }) => {
                // What was planned around cannot come again.
                facts.loads.refused.insert(program, reason);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = attached.seed(&plan)
            && let Ok(types) = &mut facts.types
        {
            types.sockets_of_files = Availability::Failed(error.to_string());
            types.iterates_files = false;
            let settings = plan.settings;
            plan = make_plan(&facts, request)?;
            plan.settings = settings;
        }
        let seeded = attached.counter(counter::SEEDED)?;
        let hz = NonZeroU32::new(plan.hz).ok_or(Refusal::NoJiffies)?;
        return Ok(Ready {
            attached,
            plan,
            hz,
            seeded,
        });
    }
}

/// Plans what [`attach`] would attach. Loads nothing but the smallest of
/// programs and maps, to see whether this kernel takes their kind.
///
/// # Errors
///
/// As [`attach`].
pub fn plan(request: &Request) -> Result<Plan, CannotStart> {
    let facts = KernelFacts::collect(Path::new(BTF))?;
    Ok(make_plan(&facts, request)?)
}
