//! Making a durable consumer that begins where it is told to.
//!
//! After a power cut nats-server may not know a durable any more and still have the file of how far it was. One that is made under
//! the same name takes that up, and on a stream that lost its end too it keeps silent until the stream is as long as it was: what
//! comes till then is given to nobody (seen with 2.15.1; a durable that it still knows is set back).

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::Stream;

use super::Error;

/// A new durable, which has delivered nothing yet.
///
/// # Errors
/// [`Error::Api`].
pub(super) async fn fresh(stream: &Stream, config: &pull::Config) -> Result<Consumer<pull::Config>, Error> {
    let consumer = made(stream, config).await?;
    if consumer.cached_info().delivered.consumer_sequence == 0 {
        return Ok(consumer);
    }
    let (name, of) = (&consumer.cached_info().name, &consumer.cached_info().stream_name);
    tracing::warn!(stream = %of, consumer = %name, "nats-server had kept how far a durable was that it did not know; made anew");
    let call = || format!("CONSUMER.DELETE.{of}.{name}");
    stream.delete_consumer(name).await.map_err(|error| Error::api(call(), error))?;
    let consumer = made(stream, config).await?;
    match consumer.cached_info().delivered.consumer_sequence {
        0 => Ok(consumer),
        delivered => Err(Error::api(call(), format!("made anew, and has delivered {delivered} messages"))),
    }
}

async fn made(stream: &Stream, config: &pull::Config) -> Result<Consumer<pull::Config>, Error> {
    let of = &stream.cached_info().config.name;
    let name = config.durable_name.as_deref().unwrap_or_default();
    let made = stream.create_consumer(config.clone()).await;
    made.map_err(|error| Error::api(format!("CONSUMER.CREATE.{of}.{name}"), error))
}
