//! What `check` prints about the confinement of each service.

use super::permissions;
use super::privileges::find_refusals;
use crate::confine::find_gaps;
use crate::supervisor::settings::{Model, Settings};

/// One line for each service, and one for each thing that an administrator should know before lsbaws starts.
pub(crate) fn describe_reach(settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, service) in &settings.services {
        if settings.process.model == Model::Iterative {
            let reason = "not confined (process.model = \"iterative\")";
            lines.push(format!("service.{name}: {reason}: the supervisor itself serves its connections"));
            continue;
        }
        lines.push(format!("service.{name}: {}", service.confinement.describe()));
        let denied = service.confinement.execute.iter().filter_map(|program| {
            let denied = service.confinement.find_not_executable(program)?.describe(name);
            Some(format!("warning: service.{name}: {} cannot be run: {denied}", program.display()))
        });
        lines.extend(denied);
        lines.extend(permissions::find_denied(name, &service.confinement));
        let gaps = find_gaps(&service.confinement);
        lines.extend(gaps.iter().map(|gap| format!("warning: service.{name}: {}", gap.sentence)));
    }
    lines.extend(find_refusals(settings).into_iter().map(|refusal| format!("note: as this user, {refusal}")));
    lines
}
