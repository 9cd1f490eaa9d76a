//! Every default of Phalanx, in one place (DESIGN section 10).

use std::time::Duration;

/// How long a gang may take from Prepare to Running.
pub const START_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a rank has between the stop signal and SIGKILL.
pub const TERMINATION_GRACE: Duration = Duration::from_secs(30);
/// A probe that is not answered for this long has failed.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// From one probe of a rank to the next.
pub const PROBE_PERIOD: Duration = Duration::from_secs(10);
/// Successes in a row that make a probe good.
pub const PROBE_SUCCESSES: u32 = 1;
/// Failures in a row that make a probe bad.
pub const PROBE_FAILURES: u32 = 3;
/// Gang restarts a job may use; a failed job is not retried unless asked for.
pub const MAX_RESTARTS: u32 = 0;
/// A job is failed or moved once a node with its pods was unreachable for this long.
pub const UNREACHABLE: Duration = Duration::from_secs(120);
/// How long a pod may run without hearing from a coordinator.
pub const LEASE: Duration = Duration::from_secs(600);
/// A pod that does not answer its peers' probes for this long is not heard on the data plane.
pub const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// A job whose client is gone, and that was not detached, is stopped after this.
pub const CLIENT_LOST: Duration = Duration::from_secs(60);
/// An ended job is forgotten after this, and what the coordinator keeps of it is removed.
pub const ENDED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most ended jobs that are kept, the newest: the coordinator holds them in memory.
pub const ENDED_KEPT_MOST: usize = 10_000;
/// A job ends after so many generations in a row that came to nothing.
pub const NO_PROGRESS: u32 = 3;
/// A generation that ran shorter came to nothing, unless its ranks told of progress.
pub const PROGRESS: Duration = Duration::from_secs(10);
/// The first gang restart comes at once, the next after this, doubled each time.
pub const BACKOFF_INITIAL: Duration = Duration::from_secs(1);
/// The longest wait before a gang restart.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A generation that ran this long resets the backoff.
pub const BACKOFF_RESET: Duration = Duration::from_secs(600);
/// A wake-up that comes later than its deadline by more than this is a clock jump, not a delay.
pub const CLOCK_JUMP: Duration = Duration::from_secs(5);
/// A local job whose launcher is gone: SIGTERM, then SIGKILL after this, whatever grace was asked.
pub const LOCAL_ORPHAN_GRACE: Duration = Duration::from_secs(1);
/// In a cluster a shim whose worker is gone ends its pod after this, with the grace of its job.
pub const ORPHANED: Duration = Duration::from_secs(60);
/// Restarts that cost no budget because a rank met a port that somebody else had taken.
pub const PORT_CONFLICT_RESTARTS: u32 = 3;
/// New generations at no cost because a port was taken before its ranks were even released.
pub const PORT_RETRIES: u32 = 16;
/// New generations at no cost because a node went before the ranks were released.
pub const NODE_RETRIES: u32 = 16;
/// A node that was unreachable so often is quarantined ...
pub const FLAPS: usize = 2;
/// ... within this time (ByteRobust's policy).
pub const FLAP_WITHIN: Duration = Duration::from_secs(5 * 60);
/// A node that is blamed for failures of so many jobs is quarantined ...
pub const BLAMES_OF_JOBS: usize = 2;
/// ... and one that is blamed so often for those of one job ...
pub const BLAMES_OF_ONE_JOB: usize = 3;
/// ... within this time.
pub const BLAME_WITHIN: Duration = Duration::from_secs(3600);
/// Failures of a node that are nearer to each other are one.
pub const SAME_INCIDENT: Duration = Duration::from_secs(60);
/// No gang gets other nodes than it had when more nodes than this were lost, and more than this share of all ...
pub const BREAKER_LEAST: usize = 2;
pub const BREAKER_PERCENT: usize = 5;
/// ... within this time ...
pub const BREAKER_WITHIN: Duration = Duration::from_secs(60);
/// ... until none was lost for this long, or an operator says so.
pub const BREAKER_QUIET: Duration = Duration::from_secs(60);
/// A coordinator that comes back waits this long for the nodes of a generation that was not released: the idle
/// timeout, after which a worker knows that its link is lost, and what it then takes to dial again.
pub const BACK_WITHIN: Duration = Duration::from_secs(10);
/// A port that somebody else had taken is not handed out again for this long.
pub const PORT_TAKEN_SKIP: Duration = Duration::from_secs(60);
/// Workers and clients send something at least this often, so that their connection is known to live.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A connection on which nothing was heard for this long is lost: the node is Unreachable.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// UDP port of a coordinator that was told no other.
pub const COORDINATOR_PORT: u16 = 7429;
/// UDP port of the beacons by which nodes find who shares a layer-2 domain with them.
pub const BEACON_PORT: u16 = 7430;
/// A port sends a beacon so often, give or take a quarter.
pub const BEACON_EVERY: Duration = Duration::from_secs(30);
/// A beacon that was not heard for so long is not heard any more: three were lost.
pub const BEACON_LOST: Duration = Duration::from_secs(120);
/// Of the ports that one port hears at most so many are told: those next to it on either side, in the circle of all by
/// name. A list of a port that has as many may be a part, and says nothing of whom it lacks.
pub const BEACONS_TOLD: usize = 2 * 8;
/// The key of beacons is changed so often.
pub const BEACON_KEY_EVERY: Duration = Duration::from_secs(3600);
/// A worker looks at its machine and its neighbours so often.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Validity of a certificate: there is no renewal yet.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// A join token is valid for this long, unless asked otherwise.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The longest a join token may be valid.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Nodes that may join with one token, unless asked otherwise.
pub const TOKEN_USES: u32 = 1;
/// Largest frame on a control stream or shim socket, bytes.
pub const FRAME_CAP: usize = 1 << 20;
/// Ring kept per output stream while its log file cannot be written, bytes.
pub const LOG_RING: usize = 1 << 20;
/// Tail of a rank's output that travels with its exit, bytes per stream.
pub const LOG_TAIL: usize = 64 << 10;
/// A log file is rotated at this size, bytes.
pub const LOG_FILE_CAP: u64 = 1 << 30;
/// Rotated files kept beside the current one, per stream.
pub const LOG_FILES_KEPT: u32 = 3;
/// Largest directory that travels with a job, bytes, packed.
pub const SHIP_CAP: u64 = 256 << 20;
/// A directory that travelled with a job and that no job used for so long is removed, on its node and at the coordinator.
pub const SHIP_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Jobs of one user that have not ended, in a cluster: a loop that submits fills no coordinator.
pub const MAX_JOBS_OF_USER: usize = 1000;
/// Most nodes of a job; a guard against a slipped zero.
pub const MAX_NODES: u32 = 8192;
/// Most ranks of a job; its plan has to fit the memory of one coordinator, not a frame.
pub const MAX_RANKS: u32 = 1 << 20;
/// The shortest lease: a coordinator that was restarted has to be back in time to renew it.
pub const MIN_LEASE: Duration = Duration::from_secs(5);
/// Most ranks a job may have on one node; a guard against a slipped zero.
pub const MAX_RANKS_PER_NODE: u32 = 1024;
