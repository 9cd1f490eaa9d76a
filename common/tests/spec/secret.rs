//! Variables whose values the submitter gives.

use phalanx_common::spec::{Document, Flags, JobFile};
use serde_json::json;

use crate::{around, run};

const FILE: &str = "\
command: [a]
env:
  WANDB_API_KEY: {secret: wandb}
  OMP_NUM_THREADS: 8
";

fn overlaid(text: &str, env: &[&str], secret: &[&str]) -> Result<JobFile, String> {
    let all = |typed: &[&str]| typed.iter().map(|typed| (*typed).to_owned()).collect();
    let flags = Flags { env: all(env), secret: all(secret), ..Flags::default() };
    let file = JobFile::parse("job.yaml", text.as_bytes()).unwrap();
    file.overlay(&flags, &around()).map_err(|error| error.to_string())
}

fn asked(file: &JobFile) -> Vec<(&str, &str)> {
    file.secrets().collect()
}

#[test]
fn a_secret_of_the_file_is_a_variable_with_a_name_of_its_own() {
    let job = run(FILE, &Flags::default()).unwrap();
    assert_eq!(job.secrets, ["WANDB_API_KEY".to_owned()].into());
    assert_eq!(job.env.keys().collect::<Vec<_>>(), ["OMP_NUM_THREADS"]);
    let file = overlaid(FILE, &[], &[]).unwrap();
    let values = file.secret_values(&|key| (key == "wandb").then(|| "hush".to_owned())).unwrap();
    assert_eq!(values, [("WANDB_API_KEY".to_owned(), "hush".to_owned())]);
}

#[test]
fn a_flag_gives_the_value_a_file_asks_for_and_else_makes_a_variable() {
    let file = overlaid(FILE, &[], &["wandb=/key", "OTHER"]).unwrap();
    assert_eq!(asked(&file), [("OTHER", "OTHER"), ("WANDB_API_KEY", "wandb")]);
    let file = overlaid(FILE, &[], &["WANDB_API_KEY=/key"]).unwrap();
    assert_eq!(asked(&file), [("WANDB_API_KEY", "WANDB_API_KEY")], "the flag wins");
    assert_eq!(
        overlaid(FILE, &[], &["=x"]).unwrap_err(),
        "--secret =x: \"\" is not a name for a variable: it must not be empty nor contain `=` or NUL"
    );
}

#[test]
fn what_is_not_given_or_cannot_be_is_named_by_its_place_with_the_way_to_give_it() {
    let file = overlaid(FILE, &[], &["OTHER"]).unwrap();
    assert_eq!(
        file.secret_values(&|_| None).unwrap_err().to_string(),
        "\
job.yaml:3:27: env.WANDB_API_KEY: the secret wandb is not given: the variable wandb is not set here or is not UTF-8; set it, or submit with `--secret wandb=FILE`
  3 |   WANDB_API_KEY: {secret: wandb}
    |                           ^^^^^
--secret OTHER: the secret OTHER is not given: the variable OTHER is not set here or is not UTF-8; set it, or submit with `--secret OTHER=FILE`"
    );
    let error = file.secret_values(&|_| Some("hush\0".to_owned())).unwrap_err().to_string();
    assert!(error.contains("env.WANDB_API_KEY: a NUL character cannot be passed to a process"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_variable_is_plain_or_a_secret_and_both_places_are_named() {
    assert_eq!(
        overlaid(FILE, &[], &["OMP_NUM_THREADS"]).unwrap_err(),
        "--secret OMP_NUM_THREADS: OMP_NUM_THREADS has a plain value too (job.yaml:4:20); leave one of the two out"
    );
    assert_eq!(
        overlaid(FILE, &["WANDB_API_KEY=hush"], &[]).unwrap_err(),
        "--env WANDB_API_KEY: WANDB_API_KEY is a secret too (job.yaml:3:27); leave one of the two out"
    );
    assert_eq!(
        overlaid("command: [a]", &["A=hush"], &["A"]).unwrap_err(),
        "--secret A: A has a plain value too (--env A); leave one of the two out"
    );
    let flags = Flags { env_file: vec!["WANDB_API_KEY=hush".into()], ..Flags::default() };
    assert_eq!(
        run(FILE, &flags).unwrap_err(),
        "--env-file WANDB_API_KEY: WANDB_API_KEY is a secret too (job.yaml:3:27); leave one of the two out"
    );
}

#[test]
fn the_document_of_a_job_has_its_secrets_by_name_and_means_the_same() {
    let file = overlaid(FILE, &[], &["OTHER"]).unwrap();
    let spec = file.resolve(&around()).unwrap();
    let document = serde_json::to_value(Document::from(&spec).bringing(&file, None)).unwrap();
    assert_eq!(
        document["env"],
        json!({"OMP_NUM_THREADS": "8", "OTHER": {"secret": "OTHER"}, "WANDB_API_KEY": {"secret": "wandb"}})
    );
    assert_eq!(run(&document.to_string(), &Flags::default()), Ok(spec));
}
