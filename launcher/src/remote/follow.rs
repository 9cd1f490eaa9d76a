//! A job of a cluster in the foreground: its events and output over a link that may be lost and found.

use std::pin::pin;
use std::time::{Duration, Instant};

use phalanx_common::defaults::CLIENT_LOST;
use phalanx_common::event::{Event, EventKind};
use phalanx_common::exit::ExitStatus;
use phalanx_common::wire::client_v1::{Reply, Request, Submit};
use phalanx_net::identity_file::Identity;
use tokio::sync::{mpsc, watch};

use super::{Answers, Client, Error, Resume};
use crate::output::{LogSink, Printer};
use crate::run::Control;
use crate::topo::plain;

/// Between two tries to find the coordinator again.
const RETRY: Duration = Duration::from_millis(500);
/// A coordinator that has not answered a wish of the user by then is not heard.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Wishes of the user that may wait.
const CONTROLS: usize = 8;

/// What puts a job into the foreground.
#[derive(Debug)]
pub(crate) enum Start {
    Submit(Submit),
    Attach { job: String, wait: bool },
}

impl Start {
    /// The job depends on this client.
    pub(crate) fn waits(&self) -> bool {
        match self {
            Start::Submit(submit) => submit.attached,
            Start::Attach { wait, .. } => *wait,
        }
    }
}

/// A job that is followed.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) job: String,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) control: mpsc::Sender<Control>,
    /// Whether the coordinator is heard.
    pub(crate) heard: watch::Receiver<bool>,
}

/// Starts or finds the job, and follows it from a task of its own until its end has been told.
pub(crate) async fn follow(
    identity: Identity,
    client: Client,
    start: Start,
    printer: &Printer,
    output: bool,
) -> Result<Followed, Error> {
    let (request, wait) = match start {
        Start::Submit(submit) => (Request::Submit(submit), true),
        Start::Attach { job, wait } => (Request::Attach { job, wait }, wait),
    };
    let mut answers = client.ask(&request).await?;
    let Some(Reply::Submitted { job }) = answers.next().await? else { return Err(Error::Answer) };
    let (events_in, events) = mpsc::unbounded_channel();
    let (control, controls) = mpsc::channel(CONTROLS);
    let (link, heard) = watch::channel(true);
    let follower = Follower {
        identity,
        job: job.clone(),
        wait,
        output,
        ended: false,
        told: false,
        end: None,
        link,
        wish: None,
        resume: Resume::default(),
        events: events_in,
        controls,
        printer: printer.clone(),
        sink: printer.log_sink(),
    };
    tokio::spawn(follower.run(client, answers));
    Ok(Followed { job, events, control, heard })
}

struct Follower {
    identity: Identity,
    job: String,
    wait: bool,
    output: bool,
    /// The job's end has been told.
    ended: bool,
    /// Something else of the job was told.
    told: bool,
    link: watch::Sender<bool>,
    /// A stop that the coordinator has not taken yet.
    wish: Option<Request>,
    /// The end, kept back until all output has come: it was told alone, and so the foreground does not know
    /// what output to wait for.
    end: Option<Event>,
    resume: Resume,
    events: mpsc::UnboundedSender<Event>,
    controls: mpsc::Receiver<Control>,
    printer: Printer,
    sink: LogSink,
}

impl Follower {
    async fn run(mut self, mut client: Client, mut answers: Answers) {
        loop {
            let lost = match self.session(&client, &mut answers).await {
                Ok(()) => return client.close().await,
                Err(lost) => lost,
            };
            if self.ended {
                return self.tell_end();
            }
            if !lost.passes() {
                return self.printer.line(format!("phalanx: {}: {lost}", self.job));
            }
            self.link.send_replace(false);
            self.printer.line(format!("phalanx: {lost}; {} goes on, connecting again", self.job));
            match self.again().await {
                Some(again) => (client, answers) = again,
                None => return,
            }
            self.link.send_replace(true);
            self.printer.line("phalanx: connected again");
        }
    }

    /// Follows over one connection, until everything has been told or the connection is lost.
    async fn session(&mut self, client: &Client, answers: &mut Answers) -> Result<(), Error> {
        self.resume.begin(client.reign());
        self.send_wish(client).await?;
        let mut logs = None;
        if self.output {
            let request = Request::Logs { job: self.job.clone(), generation: None, rank: None, follow: true };
            logs = Some(client.ask(&request).await?);
        }
        while !self.ended || logs.is_some() {
            tokio::select! {
                reply = answers.next(), if !self.ended => self.on_reply(reply?)?,
                frame = next(&mut logs) => match frame {
                    Ok(Some(Reply::Log(frame))) => {
                        if let Some(frame) = self.resume.frame(frame)
                            && self.sink.send(frame).await.is_err()
                        {
                            return Ok(());
                        }
                    }
                    Ok(_) => logs = None,
                    Err(error @ Error::Refused { .. }) => {
                        self.printer.line(format!("phalanx: warning: no output is shown: {error}"));
                        logs = None;
                    }
                    Err(error) => return Err(error),
                },
                Some(control) = self.controls.recv() => self.on_control(client, control).await?,
            }
        }
        self.tell_end();
        Ok(())
    }

    fn tell_end(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = self.events.send(end);
        }
    }

    fn on_reply(&mut self, reply: Option<Reply>) -> Result<(), Error> {
        let text = match reply {
            None => return Ok(()),
            Some(Reply::Event(text)) => text,
            Some(Reply::Warning(what)) => {
                self.printer.line(format!("phalanx: warning: {}", plain::text(&what)));
                return Ok(());
            }
            Some(_) => return Err(Error::Answer),
        };
        let event: Event = serde_json::from_str(&text).map_err(|_| Error::Answer)?;
        if !self.resume.event(event.at, &text) {
            return Ok(());
        }
        if matches!(event.kind, EventKind::JobEnded { .. }) {
            self.ended = true;
            if self.output && !self.told {
                self.end = Some(event);
                return Ok(());
            }
        }
        self.told = true;
        // The foreground may have ended: then this task does soon.
        let _ = self.events.send(event);
        Ok(())
    }

    async fn on_control(&mut self, client: &Client, control: Control) -> Result<(), Error> {
        self.note_wish(control);
        self.send_wish(client).await
    }

    fn note_wish(&mut self, control: Control) {
        let Control::Stop { status, force, .. } = control else { return };
        let signal = match status {
            ExitStatus::Signal(signal) => signal,
            ExitStatus::Code(_) => 15,
        };
        self.wish = Some(Request::Stop { job: self.job.clone(), signal, force });
    }

    /// Asks for what the user wants until the coordinator has taken it.
    async fn send_wish(&mut self, client: &Client) -> Result<(), Error> {
        let Some(wish) = self.wish.clone() else { return Ok(()) };
        let mut asking = pin!(client.done(&wish));
        let asked = match tokio::time::timeout(ANSWERS_WITHIN, &mut asking).await {
            Ok(asked) => asked,
            Err(_) => {
                self.link.send_replace(false);
                let asked = asking.await;
                self.link.send_replace(asked.is_ok());
                asked
            }
        };
        match asked {
            Err(error) if error.passes() => return Err(error),
            Err(error) => self.printer.line(format!("phalanx: warning: {error}")),
            Ok(()) => {}
        }
        self.wish = None;
        Ok(())
    }

    /// Finds the coordinator again, for as long as it waits for this client.
    async fn again(&mut self) -> Option<(Client, Answers)> {
        let since = Instant::now();
        loop {
            let request = Request::Attach { job: self.job.clone(), wait: self.wait };
            let tried = async {
                let client = Client::connect(&self.identity).await?;
                let mut answers = client.ask(&request).await?;
                match answers.next().await? {
                    Some(Reply::Submitted { .. }) => Ok((client, answers)),
                    _ => Err(Error::Answer),
                }
            };
            match tried.await {
                Ok(again) => return Some(again),
                Err(error) if !error.passes() || since.elapsed() > CLIENT_LOST => {
                    self.printer.line(format!("phalanx: {} is not followed any more: {error}", self.job));
                    return None;
                }
                Err(_) => {
                    let pause = tokio::time::sleep(RETRY);
                    let mut pause = pin!(pause);
                    loop {
                        tokio::select! {
                            () = &mut pause => break,
                            Some(control) = self.controls.recv() => self.note_wish(control),
                        }
                    }
                }
            }
        }
    }
}

/// The next answer on a stream that may not be open; never without one.
async fn next(answers: &mut Option<Answers>) -> Result<Option<Reply>, Error> {
    match answers {
        Some(answers) => answers.next().await,
        None => std::future::pending().await,
    }
}
