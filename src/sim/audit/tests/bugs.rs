//! Every seeded bug is found, and named by its kind.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::log::Play;
use crate::sim::audit::Kind;

macro_rules! bugs {
    ($($name:ident => [$($kind:ident),+],)*) => {
        /// What can be wrong with the copy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
        pub(super) enum Bug { $($name,)* }

        impl Bug {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kinds of which at least one must be found.
            fn kinds(self) -> &'static [Kind] {
                match self { $(Self::$name => &[$(Kind::$kind),+],)* }
            }
        }
    };
}

bugs! {
    // Routing.
    IgnoresExclude => [Misdelivered],
    TellsTheOriginator => [Misdelivered],
    ForgetsSubscriptions => [Misdelivered],
    TakesPrefixForExact => [Missing],
    ForgetsNot => [Misdelivered],
    TakesLeaForMs => [Misdelivered],
    ForgetsSuspended => [Misdelivered],
    LetsSupervisorsRead => [Misdelivered],
    DropsTheLast => [Missing],
    MakesLocalTooWide => [Misdelivered],
    ForgetsAlsoFor => [Missing],
    RoutesCorrectionsByAudience => [Misdelivered],
    RecallsMissAHolder => [Missing],
    GrantsTooMuch => [Misdelivered],
    ForgetsGrants => [Missing],
    GrantsWithoutCorrections => [Missing],
    DeliversRefused => [Misdelivered],
    DeliversDuplicates => [Doubled],
    ForgetsToKeep => [Lost],
    // On paper only: letters.
    SwapsLetters => [Misordered],
    LeavesAGap => [Misordered],
    DeliversLettersTwice => [Doubled],
    StoresLettersTwice => [Doubled],
    StoresLettersTwiceLater => [Doubled],
    AddsAHeader => [Unexpected],
    WritesAnotherDigest => [Digest],
    FlipsAByte => [Digest],
    ChangesTheMessage => [Unexpected],
    BreaksTheFeedDigest => [Digest],
    UsesAnotherSubject => [Unexpected],
    TellsOfItself => [Unexpected],
    InventsAttempts => [Unexpected],
    HidesTheLiving => [Unexpected],
    // Receipts.
    SaysAnotherCode => [WrongVerdict],
    AcceptsWhatIsWrong => [WrongVerdict],
    RefusesWhatIsRight => [WrongVerdict],
    NeverAnswers => [Unanswered],
    ArchivesTwice => [Doubled],
    CountsWrongly => [WrongVerdict],
    AnswersForOthers => [WrongVerdict],
    GivesOnePlaceTwice => [Doubled],
    ArchivesOutOfOrder => [Misordered],
    SwallowsASending => [Unanswered],
    QueuesTwoInOnePlace => [Doubled],
    AnswersElsewhere => [WrongVerdict],
    NamesAnotherTarget => [WrongVerdict],
    EchoesWhatItRefuses => [WrongVerdict],
    SaysTwoOutcomes => [Unexpected],
    TellsOthers => [Unexpected],
    // Replay.
    ReplaysWithAGap => [Replay],
    ShowsAnalystsAnother => [Replay],
    EndsReplaysEarly => [Replay],
    ReplaysMore => [Replay, Misdelivered],
    ReplaysWhatIsGone => [Replay],
    ReplaysTombstonesOnly => [Replay],
    ReplaysOtherBytes => [Replay],
    ReplaysOutOfOrder => [Replay],
}

impl Bug {
    /// True for those that change what is routed; the others spoil the log alone.
    pub(super) fn routes(self) -> bool {
        self <= Self::ForgetsToKeep
    }
}

static PLAY: LazyLock<Play> = LazyLock::new(|| Play::new(11, 400, true));

#[test]
fn every_bug_is_found_and_named() {
    let clean = PLAY.audit(&[]);
    assert!(clean.is_clean(), "{:#?}", clean.examples);
    let missed: Vec<String> = Bug::ALL
        .iter()
        .filter_map(|bug| {
            let found = PLAY.audit(&[*bug]);
            let named = bug.kinds().iter().any(|kind| found.count(*kind) > 0);
            (!named).then(|| format!("{bug:?}: {:?}", found.counts))
        })
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn deliveries_that_never_came_are_told_by_attempt_for_the_latencies() {
    for (bug, kind) in [(Bug::DropsTheLast, Kind::Missing), (Bug::ForgetsToKeep, Kind::Lost)] {
        let found = PLAY.audit(&[bug]);
        let told: u64 = found.undelivered.iter().map(|missed| u64::from(missed.parties)).sum();
        assert!(told >= found.count(kind) && found.count(kind) > 0, "{bug:?}: {told}");
        assert!(found.undelivered.is_sorted_by_key(|missed| missed.no));
    }
    assert!(PLAY.audit(&[]).undelivered.is_empty());
}

#[test]
fn findings_name_attempts_and_parties_and_no_word_of_a_message() {
    let found = PLAY.audit(Bug::ALL);
    assert!(found.examples.len() > 50);
    for kind in Kind::ALL {
        let examples = found.examples.iter().filter(|finding| finding.kind == kind).count() as u64;
        assert_eq!(examples, found.count(kind).min(20), "{kind:?}");
    }
    for finding in &found.examples {
        let words = &finding.words;
        assert!(words.len() < 200 && !words.contains("eu.ilonet") && !words.contains("narrative"), "{words}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Bugs do not hide one another.
    #[test]
    fn any_set_of_bugs_is_found(bugs in prop::sample::subsequence(Bug::ALL, 1..=Bug::ALL.len())) {
        prop_assert!(!PLAY.audit(&bugs).is_clean(), "{:?}", bugs);
    }
}
