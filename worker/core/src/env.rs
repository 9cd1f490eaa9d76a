//! The environment that Phalanx gives a rank.

use phalanx_common::plan::PodPlan;

/// What only the node knows of a rank's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFacts {
    /// Cores of this node that ranks may use.
    pub cores: u32,
    /// The pod's directory.
    pub job_dir: String,
    /// Where the rank's TORCHELASTIC_ERROR_FILE points.
    pub error_file: String,
}

/// Variables of the pod's rank with this LOCAL_RANK, in the order they are set.
pub fn rank_env(plan: &PodPlan, local_rank: u32, facts: &EnvFacts) -> Vec<(String, String)> {
    let rank = plan.first_rank.0 + local_rank;
    let mut env = vec![
        ("RANK".to_owned(), rank.to_string()),
        ("LOCAL_RANK".to_owned(), local_rank.to_string()),
        ("WORLD_SIZE".to_owned(), plan.body.world_size.to_string()),
        ("MASTER_ADDR".to_owned(), plan.body.master_addr.to_string()),
        ("MASTER_PORT".to_owned(), plan.body.master_port.to_string()),
        ("TORCHELASTIC_ERROR_FILE".to_owned(), facts.error_file.clone()),
    ];
    env.extend(plan.body.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}
