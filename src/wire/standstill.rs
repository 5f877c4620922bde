//! A mailbox stands still while its party is suspended: its durable is paused, so that what waits there is not read until the party
//! is back. The party's own rights do not reach that call, and nats-server keeps it over its restarts.
//!
//! Who is suspended is the registry's word; nothing is taken out of a mailbox here.

use std::time::Duration;

use async_nats::jetstream::{self, Context};
use futures_util::stream::{self, StreamExt as _};

use super::{Error, mailbox_stream};
use crate::message::names::PartyId;

/// Mailboxes looked at at the same time.
const AT_ONCE: usize = 16;

/// A pause has an end; this one is not meant to come. From when the mailbox was made: a century.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// Pauses the durables of the mailboxes with `true`, and lets those with `false` go on.
///
/// # Errors
/// [`Error::Api`] if one that is to stand still does not, or one that is to go on stands still. One that cannot be asked and need not
/// stand still is passed over: in a cluster it may have no leader for minutes.
pub async fn hold(client: &async_nats::Client, parties: Vec<(PartyId, bool)>) -> Result<(), Error> {
    let context = jetstream::new(client.clone());
    let held = stream::iter(parties).map(|(party, still)| {
        let context = context.clone();
        async move { one(&context, &party, still).await }
    });
    held.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
}

async fn one(context: &Context, party: &PartyId, still: bool) -> Result<(), Error> {
    let name = mailbox_stream(party);
    let call = format!("CONSUMER.PAUSE.{name}.main");
    let found = context.get_stream(&name).await.map_err(|error| Error::api(&call, error));
    let mailbox = match found {
        Ok(mailbox) => mailbox,
        Err(error) => return if still { Err(error) } else { Ok(()) },
    };
    let paused = match mailbox.consumer_info("main").await {
        Ok(info) => info.paused,
        Err(error) => return if still { Err(Error::api(&call, error)) } else { Ok(()) },
    };
    if paused == still {
        return Ok(());
    }
    let answer = if still {
        mailbox.pause_consumer("main", mailbox.cached_info().created + FOR_EVER).await
    } else {
        mailbox.resume_consumer("main").await
    };
    let told = answer.map_err(|error| Error::api(&call, error))?;
    if told.paused == still { Ok(()) } else { Err(Error::api(call, "did not do what it was told")) }
}
