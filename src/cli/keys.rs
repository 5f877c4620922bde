//! `liaison keys`: the keys of parties and posts are made, replaced, refused and listed, while everybody else stays connected.
//!
//! What is let in is what the list of keys says (`wire/keyring.rs`); here it is changed, and nats-server gets to know of it: by a
//! running `liaison up`, or by the operator of a server of its own, who is told what to do. The broker's own keys are not handled
//! here, and no secret is printed.

mod signing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use self::signing::{After, MakeSigning};
use super::serve::wire_exit;
use super::up::read_registry;
use super::{Exit, Failure, exit};
use crate::broker::config::Config;
use crate::broker::rulebook;
use crate::client::exchange::Endpoints;
use crate::message::names::{KeyId, PartyId, PostId};
use crate::message::time::{self, Timestamp};
use crate::rules::registry::Registry;
use crate::wire::Error;
use crate::wire::accounts::Member;
use crate::wire::keyring::{self, Ending, Key, Keyring, PublicKey, User};
use crate::wire::keys;

/// How long a `liaison up` that is starting is waited for.
const START: Duration = Duration::from_secs(60);
/// How long a reload may take.
const RELOAD: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// A key for a party's system or a post of the registry that has none.
    New(Make),
    /// Another key. The one before stays let in until `revoke --old`, so that a system can change without a gap.
    Rotate(Rotate),
    /// Keys are refused from now on, and whoever is connected with them is cut off. Nobody else is.
    Revoke(Revoke),
    /// Who has which key since when, and which are refused. Public halves only.
    List(List),
}

/// Where the keys are.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// Data directory of `liaison up`; a running one is told, and everything is done when this command ends.
    #[arg(long, env = "LIAISON_DATA", value_name = "DIR", default_value = "./liaison-data")]
    data: PathBuf,
    /// Directory with the keys, beside a nats-server of your own; with --registry. It says what is left to do.
    #[arg(long, env = "LIAISON_KEYS", value_name = "DIR", requires = "registry")]
    keys: Option<PathBuf>,
    /// Registry file; default: that of the data directory.
    #[arg(long, env = "LIAISON_REGISTRY", value_name = "FILE")]
    registry: Option<PathBuf>,
}

/// Whose keys.
#[derive(Debug, clap::Args)]
pub struct Whose {
    /// The party.
    party: PartyId,
    /// One of its posts; its system unless given.
    #[arg(long, env = "LIAISON_POST")]
    post: Option<PostId>,
    /// Its system and all of its posts.
    #[arg(long, env = "LIAISON_ALL", conflicts_with = "post")]
    all: bool,
    #[command(flatten)]
    place: Where,
}

/// Arguments of `new`.
#[derive(Debug, clap::Args)]
pub struct Make {
    #[command(flatten)]
    whose: Whose,
    /// The public half (`U…`) of a key whose secret half stays where it was made; otherwise both are made here.
    // Text, for a refusal by the library would repeat it, and it may be the secret half by mistake.
    #[arg(long, env = "LIAISON_PUBLIC_KEY", value_name = "U…", conflicts_with = "all")]
    public_key: Option<String>,
    #[command(flatten)]
    signing: MakeSigning,
}

/// Arguments of `rotate`.
#[derive(Debug, clap::Args)]
pub struct Rotate {
    #[command(flatten)]
    make: Make,
    /// Refuse the keys before it at once: they were lost or stolen.
    #[arg(long, env = "LIAISON_REVOKE_OLD")]
    revoke_old: bool,
}

/// Arguments of `revoke`.
#[derive(Debug, clap::Args)]
pub struct Revoke {
    #[command(flatten)]
    whose: Whose,
    /// Only keys that another one was made to replace: the end of a rotation.
    #[arg(long, env = "LIAISON_OLD")]
    old: bool,
    /// Only this key.
    #[arg(long, env = "LIAISON_PUBLIC_KEY", value_name = "U…", conflicts_with_all = ["old", "all"])]
    public_key: Option<String>,
    /// Keys with which messages are signed, not those of connections.
    #[arg(long, env = "LIAISON_SIGNING", conflicts_with_all = ["all", "public_key"])]
    signing: bool,
    /// Only the signing key with this id.
    #[arg(long, env = "LIAISON_KEY_ID", value_name = "ID", requires = "signing", conflicts_with = "old")]
    id: Option<KeyId>,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only keys of this party.
    party: Option<PartyId>,
    /// One JSON object a line.
    #[arg(long, env = "LIAISON_JSON")]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// What is done to each user.
enum Change {
    New(Option<PublicKey>),
    Rotate { public: Option<PublicKey>, revoke_old: bool },
    Revoke(Ending),
}

/// Runs it.
pub async fn run(command: Command) -> Result<Exit, Failure> {
    let (whose, change) = match command {
        Command::List(args) => return list(&args),
        Command::New(Make { whose, public_key, signing }) if signing.signing => {
            let change = signing.making(public_key, After::None);
            return signing::carry_out(&whose, &change).await;
        }
        Command::Rotate(Rotate { make: Make { whose, public_key, signing }, revoke_old })
            if signing.signing =>
        {
            let after = if revoke_old { After::Revoked } else { After::Overlap };
            return signing::carry_out(&whose, &signing.making(public_key, after)).await;
        }
        Command::Revoke(Revoke { whose, old, signing: true, id, .. }) => {
            let others = if old { signing::Ending::Replaced } else { signing::Ending::All };
            let ending = id.map_or(others, signing::Ending::One);
            return signing::carry_out(&whose, &signing::Change::Revoke(ending)).await;
        }
        Command::New(args) => (args.whose, Change::New(public(args.public_key.as_deref())?)),
        Command::Rotate(Rotate { make, revoke_old }) => {
            let public = public(make.public_key.as_deref())?;
            (make.whose, Change::Rotate { public, revoke_old })
        }
        Command::Revoke(args) => {
            let one = public(args.public_key.as_deref())?.map(Ending::One);
            let others = if args.old { Ending::Replaced } else { Ending::All };
            (args.whose, Change::Revoke(one.unwrap_or(others)))
        }
    };
    carry_out(&whose, &change).await
}

fn public(text: Option<&str>) -> Result<Option<PublicKey>, Failure> {
    let parsed = text.map(PublicKey::parse).transpose();
    parsed.map_err(|error| Failure::new(Exit::DataInvalid, format!("--public-key: {error}")))
}

fn failure(error: &Error) -> Failure {
    Failure::new(wire_exit(error), error.to_string())
}

/// The list first, then whoever connects by it, then the files that clients on this machine read: at no moment is there only a
/// key that is not let in yet.
async fn carry_out(whose: &Whose, change: &Change) -> Result<Exit, Failure> {
    let registry = whose.place.registry()?;
    let directory = whose.place.keys();
    let (ring, done) = write(whose, change, &registry, &directory)?;
    let told = whose.place.tell().await;
    let is_making = !matches!(change, Change::Revoke(_));
    if told.is_ok() || !is_making {
        for (user, _) in &done {
            keys::settle(&directory, &ring, user).map_err(|error| failure(&error))?;
        }
    }
    for (user, key) in &done {
        exit::line(&shown(key, &user.file(&directory)))?;
    }
    let was_told = told.map_err(|error| {
        let waits = if is_making {
            "; new seeds wait in files that end in .new until the next `liaison keys` for that user"
        } else {
            ""
        };
        let words = "the list of keys is changed, but the running `liaison up` goes on with the old one";
        Failure::new(Exit::Failure, format!("{words}: {error}. Mend that, then send it SIGHUP{waits}"))
    })?;
    exit::words(&what_is_left(whose, change, was_told));
    Ok(Exit::Ok)
}

/// Changes the list; what it is now, and the keys that were changed.
fn write(
    whose: &Whose,
    change: &Change,
    registry: &Registry,
    directory: &Path,
) -> Result<(Keyring, Vec<(User, Key)>), Failure> {
    let refused = |error: Error| failure(&error);
    let lock = keyring::lock(directory).map_err(refused)?;
    let mut ring = Keyring::read(directory).map_err(refused)?;
    let (mut done, mut skipped) = (Vec::new(), Vec::new());
    for user in users(whose, change, registry, &ring)? {
        // What a run that was cut short left behind.
        keys::settle(directory, &ring, &user).map_err(refused)?;
        match one(directory, &mut ring, &user, change) {
            Ok(changed) => done.extend(changed.into_iter().map(|key| (user.clone(), key))),
            Err(Error::NotDone(words)) => skipped.push(words),
            Err(error) => return Err(refused(error)),
        }
    }
    if done.is_empty() {
        return Err(Failure::new(Exit::DataInvalid, skipped.join("\nliaison: ")));
    }
    ring.save(directory, &lock).map_err(refused)?;
    for words in skipped {
        exit::words(&format!("left as it is: {words}\n"));
    }
    Ok((ring, done))
}

/// The users that are meant. Keys are made only for whom the registry knows, and refused also to those that it knows no more.
fn users(whose: &Whose, change: &Change, registry: &Registry, ring: &Keyring) -> Result<Vec<User>, Failure> {
    let party = registry.party(whose.party.as_str());
    let member = party.map(|party| Member { party: party.id.clone(), posts: party.posts.clone() });
    let mut known: Vec<User> = member.iter().flat_map(User::of).collect();
    if matches!(change, Change::Revoke(_)) {
        known.extend(ring.keys().iter().map(Key::user).filter(|user| user.party == whose.party));
        known.sort();
        known.dedup();
    }
    let asked = User { party: whose.party.clone(), post: whose.post.clone() };
    if !whose.all {
        known.retain(|user| *user == asked);
    }
    if known.is_empty() {
        let words = match (&whose.post, party) {
            (Some(_), Some(_)) => format!("{} has no such post in the registry", whose.party),
            _ => format!("{} is not in the registry", whose.party),
        };
        return Err(Failure::new(Exit::DataInvalid, words));
    }
    Ok(known)
}

fn one(directory: &Path, ring: &mut Keyring, user: &User, change: &Change) -> Result<Vec<Key>, Error> {
    let now = time::now();
    let mut changed = Vec::new();
    let public = match change {
        Change::Revoke(ending) => return ring.end(user, ending, now),
        Change::New(public) => {
            ring.lacks_key(user)?;
            public
        }
        Change::Rotate { public, revoke_old } => {
            if *revoke_old {
                changed = ring.end(user, &Ending::All, now)?;
            } else {
                ring.may_have_another(user)?;
            }
            public
        }
    };
    let public = match public {
        Some(public) => {
            keyring::is_not_the_brokers(directory, public)?;
            public.clone()
        }
        None => keys::mint(&user.file(directory))?,
    };
    ring.add(user, public, now)?;
    changed.extend(ring.let_in(user).next_back().cloned());
    Ok(changed)
}

/// What the operator does next, in words.
fn what_is_left(whose: &Whose, change: &Change, was_told: bool) -> String {
    let mut words = if was_told {
        "nats-server has it: done.\n".to_owned()
    } else if let (Some(keys), Some(registry)) = (&whose.place.keys, &whose.place.registry) {
        format!(
            "nats-server does not know it yet. Write its configuration as before and reload it:\n  \
             liaison nats-config --registry {} --keys {} … > nats.conf.new\n  \
             nats-server -t -c nats.conf.new && mv nats.conf.new nats.conf && systemctl reload nats-server\n",
            registry.display(),
            keys.display()
        )
    } else {
        let data = whose.place.data.display();
        format!("no `liaison up` runs on {data}: it is so from its next start on.\n")
    };
    let who = match &whose.post {
        Some(post) => format!("{} --post {post}", whose.party),
        None => whose.party.to_string(),
    };
    let all = if whose.all { " --all" } else { "" };
    match change {
        Change::Rotate { revoke_old: false, .. } => words.push_str(&format!(
            "The key before it is let in too, until `liaison keys revoke {who}{all} --old`.\n"
        )),
        Change::Revoke(Ending::All) => {
            words.push_str(&format!("Nobody is let in any more until `liaison keys new {who}{all}`.\n"));
        }
        _ => {}
    }
    words
}

impl Where {
    fn keys(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| self.data.join("keys"))
    }

    /// Tells the `liaison up` that runs there, if one does; true if it has what was written before.
    async fn tell(&self) -> std::io::Result<bool> {
        if self.keys.is_some() {
            return Ok(false);
        }
        match Endpoints::running(&self.data, START).await? {
            Some(running) => running.reload(RELOAD).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// The file of the registry.
    fn registry_file(&self) -> Result<PathBuf, Failure> {
        let config = self.data.join("liaison.toml");
        match &self.registry {
            Some(file) => Ok(file.clone()),
            None if config.exists() => {
                let config = Config::read(&config);
                config
                    .map(|config| config.registry.file)
                    .map_err(|fault| Failure::new(Exit::Configuration, fault))
            }
            None => Ok(self.data.join("network.toml")),
        }
    }

    /// The registry. What a running `liaison up` would refuse to read is refused here, before anything is changed.
    fn registry(&self) -> Result<Registry, Failure> {
        let file = self.data.join("liaison.toml");
        if self.registry.is_some() || !file.exists() {
            let default = self.data.join("network.toml");
            return read_registry(Some(self.registry.as_deref().unwrap_or(&default)));
        }
        let loaded =
            Config::read(&file).map_err(|fault| vec![fault]).and_then(|config| rulebook::load(&config));
        let loaded =
            loaded.map_err(|faults| Failure::new(Exit::Configuration, faults.join("\nliaison: ")))?;
        Ok(loaded.registry)
    }
}

fn list(args: &List) -> Result<Exit, Failure> {
    let directory = args.place.keys();
    let ring = Keyring::read(&directory).map_err(|error| failure(&error))?;
    let registry = args.place.registry()?;
    let is_asked = |key: &&Key| args.party.as_ref().is_none_or(|party| key.party == *party);
    let mut keys: Vec<&Key> = ring.keys().iter().filter(is_asked).collect();
    // Stable: the keys of a user stay in their order.
    keys.sort_by_key(|key| key.user());
    let signing = signing::all(&registry, args.party.as_ref());
    if args.json {
        let nats = keys.into_iter().map(|key| shown(key, &key.user().file(&directory)));
        for value in nats.chain(signing.map(|(party, key)| signing::shown(party, key, &directory))) {
            if !exit::line(&value)? {
                break;
            }
        }
        return Ok(Exit::Ok);
    }
    let mut text = row(["party", "user", "kind", "id", "public key", "since", "until", "revoked"]);
    for key in keys {
        let user = key.user();
        let [since, until, revoked] = [Some(key.since), key.until, key.revoked].map(moment);
        let public = key.public_key.as_str();
        text.push_str(&row([key.party.as_str(), user.name(), KIND, "-", public, &since, &until, &revoked]));
    }
    for (party, key) in signing {
        let user = key.post.as_ref().map_or("system", PostId::as_str);
        let [id, public, since, until, revoked] = signing::cells(key);
        text.push_str(&row([party.as_str(), user, signing::KIND, &id, &public, &since, &until, &revoked]));
    }
    exit::print(text.as_bytes())
}

/// What a key is for: being let in by nats-server. Signing keys of posts are of another kind.
const KIND: &str = "nats";

fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_string())
}

fn row([party, user, kind, id, public, since, until, revoked]: [&str; 8]) -> String {
    format!("{party:<15} {user:<15} {kind:<7} {id:<20} {public:<56} {since:<20} {until:<20} {revoked}\n")
}

/// `file` is where its seed would be.
fn shown(key: &Key, file: &Path) -> Value {
    let seed = keys::holds(file, &key.public_key).then(|| file.display().to_string());
    json!({
        "party": key.party,
        "post": key.post,
        "kind": KIND,
        "public_key": key.public_key,
        "since": key.since,
        "until": key.until,
        "revoked": key.revoked,
        "let_in": key.is_let_in(),
        "seed": seed,
    })
}
