//! One job, its files, and one follower.

use std::time::Duration;

use phalanx_common::id::{Epoch, Generation, Incarnation, NodeId, Rank};
use phalanx_common::spec::{Keep, StopScope};
use phalanx_common::wire::v1::{
    FileFrame, FileRequest, FromWorker, LogCredit, LogFrame, TailFrame, ToWorker,
};
use phalanx_worker_core::shim::{Secrets, ShimRank};
use tokio::sync::mpsc;

use super::*;
use crate::link::{Error, FileLink, LogLink, TailLink};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of which log streams alone are used: their frames arrive at the test.
struct Wire(mpsc::UnboundedSender<LogFrame>);

/// A stream without bounds, whose end is the end of its log.
struct Stub(mpsc::UnboundedSender<LogFrame>);

impl Link for Wire {
    type Log = Stub;
    type Tail = Stub;
    type File = Stub;

    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    async fn send(&mut self, _: FromWorker) -> Result<(), Error> {
        Ok(())
    }

    async fn recv(&mut self) -> Result<ToWorker, Error> {
        pending().await
    }

    fn open_log(&self) -> impl Future<Output = Result<Stub, Error>> + Send + 'static {
        std::future::ready(Ok(Stub(self.0.clone())))
    }

    fn open_tails(&self) -> impl Future<Output = Result<Stub, Error>> + Send + 'static {
        std::future::ready(Ok(Stub(self.0.clone())))
    }

    fn open_file(&self) -> impl Future<Output = Result<Stub, Error>> + Send + 'static {
        std::future::ready(Ok(Stub(self.0.clone())))
    }
}

impl LogLink for Stub {
    async fn send(&mut self, frame: LogFrame) -> Result<(), Error> {
        self.0.send(frame).map_err(|_| Error::Stream(phalanx_net::frames::Error::Closed))
    }

    async fn credit(&mut self) -> Result<LogCredit, Error> {
        pending().await
    }
}

impl TailLink for Stub {
    async fn send(&mut self, _: TailFrame) -> Result<(), Error> {
        Ok(())
    }
}

impl FileLink for Stub {
    async fn ask(&mut self, _: FileRequest) -> Result<(), Error> {
        Ok(())
    }

    async fn next(&mut self) -> Result<FileFrame, Error> {
        pending().await
    }
}

/// A node's outputs, in a directory of their own, and a follower of one job.
struct Bench {
    dir: tempfile::TempDir,
    outputs: Outputs,
    frames: mpsc::UnboundedReceiver<LogFrame>,
    link: Wire,
}

fn job() -> JobId {
    JobId::from_existing("digits-1")
}

/// Who runs this test.
fn user() -> nix::unistd::User {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap()
}

impl Bench {
    fn new() -> Bench {
        let (say, frames) = mpsc::unbounded_channel();
        let dir = tempfile::tempdir().unwrap();
        Bench { dir, outputs: Outputs::new(), frames, link: Wire(say) }
    }

    fn path(&self, generation: u32) -> PathBuf {
        self.dir.path().join(user().name).join(job().as_str()).join(generation.to_string()).join("0")
    }

    fn write(&self, generation: u32, text: &str) {
        std::fs::create_dir_all(self.path(generation)).unwrap();
        std::fs::write(self.path(generation).join("stdout.log"), text).unwrap();
    }

    fn follow(&mut self, here: bool) {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let config = Config {
            node: NodeId::new("a"),
            incarnation: Incarnation(1),
            base_dir: String::new(),
            log_dir: text(self.dir.path()),
            ship_dir: String::new(),
            inherited: [].into(),
        };
        let request = LogRequest {
            job: job().to_string(),
            user: Some(user().name),
            log_dir: None,
            max_file_bytes: 1 << 20,
            generation: None,
            rank: None,
            follow: true,
        };
        self.outputs.serve(1, request, here, (&config, &self.link));
    }

    fn expect(&mut self, generation: u32) {
        let log_dir = self.path(generation).to_string_lossy().into_owned();
        let rank = ShimRank {
            rank: Rank(0),
            env: Vec::new(),
            log_dir,
            error_file: String::new(),
            cpus: Default::default(),
            nodes: Default::default(),
        };
        let plan = ShimPlan {
            memory: Default::default(),
            job: job(),
            generation: Generation(generation),
            mark: String::new(),
            command: Vec::new(),
            working_dir: None,
            remove_env: Vec::new(),
            ship: None,
            virtual_env: None,
            secrets: Secrets::default(),
            env: Vec::new(),
            ranks: vec![rank],
            job_dir: String::new(),
            keep: Keep::Never,
            ports: Vec::new(),
            probe: None,
            stop_scope: StopScope::Group,
            termination_grace: Duration::ZERO,
            max_file_bytes: 1 << 20,
            keep_files: 1,
            lease: None,
            nccl_topology: None,
            probes: Default::default(),
            stop_signal: 15,
            post_start: None,
            pre_stop: None,
            init: Vec::new(),
            init_once: false,
            in_place: false,
            memory_limit: None,
        };
        self.outputs.expect(&job(), &plan, Some(user().uid.as_raw()));
    }

    fn written(&mut self, generation: u32, text: &str) {
        self.write(generation, text);
        self.outputs.note(&job(), |state| {
            let source = state.streams.get_mut(&(Generation(generation), Rank(0), Stream::Stdout));
            source.unwrap().written = text.len() as u64;
        });
    }

    /// The next frame, while the outputs do their work; `None` once the stream is over.
    async fn next(&mut self) -> Option<LogFrame> {
        let next = async {
            loop {
                tokio::select! {
                    biased;
                    frame = self.frames.recv() => return frame,
                    () = self.outputs.work() => if self.outputs.readers.is_empty() {
                        return self.frames.try_recv().ok();
                    },
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a frame, or the end of the stream")
    }

    async fn chunk(&mut self) -> (u32, String) {
        loop {
            match self.next().await {
                Some(LogFrame::Chunk { generation, bytes, .. }) => {
                    return (generation, String::from_utf8(bytes.0).unwrap());
                }
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
    }
}

#[tokio::test]
async fn a_follower_of_a_job_that_is_not_here_gets_what_is_left_of_it_and_its_end() {
    let mut bench = Bench::new();
    bench.write(1, "abc");
    bench.follow(false);
    assert_eq!(bench.next().await, Some(LogFrame::Open { id: 1 }));
    assert_eq!(bench.chunk().await, (1, "abc".into()));
    assert_eq!(bench.next().await, Some(LogFrame::End { generation: 1 }));
    assert_eq!(bench.next().await, None);
    assert!(bench.outputs.written.is_empty());
}

#[tokio::test]
async fn a_follower_of_a_job_that_is_to_come_waits_for_it() {
    let mut bench = Bench::new();
    bench.follow(true);
    assert_eq!(bench.next().await, Some(LogFrame::Open { id: 1 }));
    tokio::time::timeout(Duration::from_millis(50), bench.next()).await.unwrap_err();
    bench.expect(1);
    bench.written(1, "abc");
    assert_eq!(bench.chunk().await, (1, "abc".into()));
}

#[tokio::test]
async fn a_job_that_is_forgotten_during_a_search_and_comes_again_is_followed() {
    let mut bench = Bench::new();
    bench.follow(true);
    // What the search finds is not looked at before the job has gone and come.
    bench.outputs.close(&job());
    bench.expect(2);
    bench.written(2, "abc");
    assert_eq!(bench.chunk().await, (2, "abc".into()));
    bench.written(2, "abcdef");
    assert_eq!(bench.chunk().await, (2, "def".into()));
    bench.outputs.close(&job());
    assert_eq!(bench.next().await, None);
}
