//! The integration tests: one binary, so that one link serves all.

mod bench;
mod examples;
mod laws;
mod references;
mod refusals;
mod rules;
mod syntax;

#[test]
fn the_crate_links() {
    assert_eq!(liaison::message::outcome::Code::ALL.len(), 24);
}
