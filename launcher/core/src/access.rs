//! Who may do what: denied unless it stands here.

use phalanx_common::identity::Principal;

/// Something a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Run a job as oneself.
    Submit,
    /// Run a job for another user.
    SubmitAs,
    /// See jobs, nodes and their state.
    Look,
    /// Read the output of a job of this owner.
    ReadOutput { owner: &'a str },
    /// Wait for, stop or otherwise change a job of this owner.
    Control { owner: &'a str },
    /// Join tokens and users.
    Administer,
}

/// Whether `principal` may do `action`. Workers act by their own protocol and ask for nothing here.
pub fn allowed(principal: &Principal, action: Action<'_>) -> bool {
    match principal {
        Principal::Operator { .. } => action != Action::Submit,
        Principal::Submitter { name, .. } => match action {
            Action::Submit | Action::Look => true,
            Action::ReadOutput { owner } | Action::Control { owner } => owner == name,
            Action::SubmitAs | Action::Administer => false,
        },
        Principal::Viewer { .. } => action == Action::Look,
        Principal::Worker { .. } | Principal::Coordinator => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_this_and_no_more() {
        let all = [
            Action::Submit,
            Action::SubmitAs,
            Action::Look,
            Action::ReadOutput { owner: "ann" },
            Action::ReadOutput { owner: "bob" },
            Action::Control { owner: "ann" },
            Action::Control { owner: "bob" },
            Action::Administer,
        ];
        let allowed = |principal: Principal| all.map(|action| u8::from(allowed(&principal, action)));
        let operator = Principal::Operator { name: "root".into() };
        assert_eq!(allowed(operator), [0, 1, 1, 1, 1, 1, 1, 1]);
        let ann = Principal::Submitter { name: "ann".into(), unix_user: "ann".into() };
        assert_eq!(allowed(ann), [1, 0, 1, 1, 0, 1, 0, 0]);
        assert_eq!(allowed(Principal::Viewer { name: "ann".into() }), [0, 0, 1, 0, 0, 0, 0, 0]);
        let worker = Principal::Worker { node: phalanx_common::id::NodeId::new("ann") };
        assert_eq!(allowed(worker), [0; 8]);
        assert_eq!(allowed(Principal::Coordinator), [0; 8]);
    }
}
