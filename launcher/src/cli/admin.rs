//! Running a cluster: the coordinator itself, tokens, users, identities.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use phalanx_common::identity::Role;
use phalanx_common::status::{TokenStatus, UserStatus};
use phalanx_common::wire::client_v1::{Reply, Request};
use phalanx_net::authority::Keys;
use phalanx_net::identity_file::Identity;

use super::args::{
    ClusterArgs, ListArgs, LoginArgs, ServeArgs, TokenCommand, TokenCreateArgs, UserAddArgs, UserCommand,
};
use super::cluster::{Purpose, left, need_identity, on_event_loop, table};
use super::{Exit, log_to_stderr, pretty, print};
use crate::cluster::{self, ask_login, default_dir, join_line, login_socket, own_dir};
use crate::driver::wall;
use crate::remote::{Client, own_identity};

/// `phalanx serve`.
pub(super) fn serve(args: ServeArgs) -> anyhow::Result<Exit> {
    log_to_stderr(&args.log)?;
    let state_dir = match args.state_dir {
        Some(dir) => dir,
        None => default_dir()
            .context("neither XDG_STATE_HOME nor HOME is set: name a directory with --state-dir")?,
    };
    cluster::run(cluster::Options {
        state_dir,
        listen: args.listen,
        advertise: args.advertise,
        topology: args.topology,
    })?;
    Ok(Exit::Success)
}

/// `phalanx token`.
pub(super) fn token(command: TokenCommand) -> anyhow::Result<Exit> {
    match command {
        TokenCommand::Create(args) => create_token(&args),
        TokenCommand::List(args) => list_tokens(&args),
        TokenCommand::Revoke { id, cluster } => {
            let said = format!("token {id} joins nobody any more; nodes that joined with it stay\n");
            administer(&cluster, &Request::RevokeToken { id }, &said)
        }
    }
}

fn create_token(args: &TokenCreateArgs) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Administer)?;
    let request =
        Request::CreateToken { lifetime_s: args.ttl.as_secs(), uses: args.uses, note: args.note.clone() };
    let (token, addresses) = on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let Reply::Token { token, addresses } = client.one(&request).await? else {
            bail!("the coordinator's answer makes no sense");
        };
        client.close().await;
        Ok((token, addresses))
    })?;
    print(&if args.quiet { format!("{token}\n") } else { format!("{}\n", join_line(&addresses, &token)) })
}

fn list_tokens(args: &ListArgs) -> anyhow::Result<Exit> {
    let tokens: Vec<TokenStatus> = documents(&args.cluster, &Request::Tokens)?;
    if args.json {
        return print(&pretty(&tokens));
    }
    let rows = tokens.iter().map(|token| {
        let state = if token.revoked {
            "revoked".to_owned()
        } else if token.used >= token.uses {
            "used up".to_owned()
        } else {
            left(token.expires, wall())
        };
        let uses = format!("{}/{}", token.used, token.uses);
        vec![token.id.clone(), state, uses, token.created_by.clone(), token.note.clone()]
    });
    print(&table(&["TOKEN", "STATE", "USED", "BY", "NOTE"], rows))
}

/// `phalanx user`.
pub(super) fn user(command: UserCommand) -> anyhow::Result<Exit> {
    match command {
        UserCommand::Add(args) => add_user(&args),
        UserCommand::List(args) => {
            let users: Vec<UserStatus> = documents(&args.cluster, &Request::Users)?;
            if args.json {
                return print(&pretty(&users));
            }
            let rows = users.iter().map(|user| {
                vec![user.name.clone(), user.role.clone(), user.unix_user.clone().unwrap_or_default()]
            });
            print(&table(&["USER", "ROLE", "UNIX USER"], rows))
        }
        UserCommand::Remove { name, cluster } => {
            let said = format!("{name} is a user no more; jobs of that user go on\n");
            administer(&cluster, &Request::RemoveUser { name }, &said)
        }
    }
}

fn add_user(args: &UserAddArgs) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Administer)?;
    let keys = Keys::generate()?;
    let request = Request::AddUser {
        name: args.name.clone(),
        role: args.role.clone(),
        unix_user: args.unix_user.clone(),
        csr: keys.request()?,
    };
    let (bundle, known) = on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let users: Vec<UserStatus> = client.document(&Request::Users).await?;
        let known = users.iter().any(|user| user.name == args.name);
        let Reply::Certificate { certificate, ca, coordinators } = client.one(&request).await? else {
            bail!("the coordinator's answer makes no sense");
        };
        client.close().await;
        Ok((Identity::new(ca, certificate, keys.to_pkcs8(), coordinators)?, known))
    })?;
    bundle.save(&args.out)?;
    let role = bundle.principal.role().to_string();
    let article = if role.starts_with('o') { "an" } else { "a" };
    let already = if known { " already, and this is one more identity" } else { "" };
    print(&format!(
        "{} is {article} {role} of cluster {}{already}; as that user: phalanx login --bundle {}\n",
        args.name,
        bundle.cluster,
        args.out.display()
    ))
}

/// `phalanx login`.
pub(super) fn login(args: LoginArgs) -> anyhow::Result<Exit> {
    let path = match args.identity.or_else(own_identity) {
        Some(path) => path,
        None => bail!("neither XDG_CONFIG_HOME nor HOME is set: name a file with --identity"),
    };
    let identity = match (&args.bundle, args.socket) {
        (Some(bundle), _) => Identity::load(bundle)?,
        (None, Some(socket)) => ask_login(&socket)?,
        (None, None) => ask_login(&usual_socket())?,
    };
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
    }
    identity.save(&path)?;
    let next = match identity.principal.role() {
        Role::Viewer => "`phalanx ps` and `phalanx nodes` show what is there",
        _ => "`phalanx run` runs jobs there from now on, `phalanx run --local` here",
    };
    print(&format!("logged in to cluster {} as {}; {next}\n", identity.cluster, identity.principal))
}

/// The socket of a coordinator of this user, or of root.
fn usual_socket() -> PathBuf {
    let own = own_dir().map(|dir| login_socket(&dir)).filter(|socket| socket.exists());
    own.unwrap_or_else(|| login_socket(&PathBuf::from("/var/lib/phalanx/coordinator")))
}

/// A request that is answered by nothing but that it is done, which is said.
pub(super) fn administer(args: &ClusterArgs, request: &Request, said: &str) -> anyhow::Result<Exit> {
    let identity = need_identity(args, Purpose::Administer)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        client.done(request).await?;
        client.close().await;
        print(said)
    })
}

pub(super) fn documents<T: serde::de::DeserializeOwned>(
    args: &ClusterArgs,
    request: &Request,
) -> anyhow::Result<T> {
    let identity = need_identity(args, Purpose::Administer)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let document = client.document(request).await?;
        client.close().await;
        Ok(document)
    })
}
