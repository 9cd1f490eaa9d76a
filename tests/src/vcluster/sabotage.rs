//! Ways to break an invariant on purpose. Each lives where the harness passes things on.

/// What the harness does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A pod gets a forged Go as soon as it is prepared, whatever its peers do (breaks I2).
    ForgeGo,
    /// Every rank is said to be ready as soon as its program runs (breaks I2).
    ForgeReady,
    /// The shim of a released pod starts every rank twice (breaks I1).
    StartTwice,
    /// Orders of an earlier reign reach the workers again, and a stand-in lets them through (breaks I3).
    AcceptStaleOrders,
    /// A generation is recorded as if its first pod were on a node that is closed (breaks I4).
    PlaceOnClosed,
    /// Every generation is recorded with the same port (breaks I5).
    SamePort,
    /// Every charge is recorded as paid by nobody's budget but the job's (breaks I6).
    OverspendBudget,
    /// The shim says Ended and leaves a process alive (breaks I7).
    LeaveAlive,
    /// Every fifth record is not stored (breaks I8).
    LoseRecords,
    /// Orders are sent before the records they depend on are stored (breaks I8).
    SendBeforePersist,
    /// Events do not arrive (breaks I9).
    DropEvents,
    /// The worker's PodEnded never arrives (breaks I10).
    SwallowPodEnded,
    /// Leases are renewed by the harness though no order came (breaks I1: the old ends by its lease).
    RenewWithoutOrders,
}

impl Sabotage {
    pub const ALL: [Sabotage; 13] = [
        Sabotage::ForgeGo,
        Sabotage::ForgeReady,
        Sabotage::StartTwice,
        Sabotage::AcceptStaleOrders,
        Sabotage::PlaceOnClosed,
        Sabotage::SamePort,
        Sabotage::OverspendBudget,
        Sabotage::LeaveAlive,
        Sabotage::LoseRecords,
        Sabotage::SendBeforePersist,
        Sabotage::DropEvents,
        Sabotage::SwallowPodEnded,
        Sabotage::RenewWithoutOrders,
    ];

    /// The one whose name this is.
    pub fn named(name: &str) -> Option<Sabotage> {
        Sabotage::ALL.into_iter().find(|sabotage| format!("{sabotage:?}") == name)
    }
}
