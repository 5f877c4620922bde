//! What the operator decides about the rules: ceiling, case plane, number of votes.

/// Markings in rising order (`domain.md` 3.3). What lies above `LIMITE` is EU classified information.
pub const CLASSIFICATIONS: [&str; 8] =
    ["PUBLIC", "NORMAL", "SNC", "LIMITE", "R-UE/EU-R", "C-UE/EU-C", "S-UE/EU-S", "TS-UE/EU-TS"];

/// The operator's decisions.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Highest marking that the system is accredited for, as its rank; [`Policy::new`] is the way in.
    pub(crate) ceiling: usize,
    /// True if the case plane (personal data, Art. 10) is open.
    pub case_plane: bool,
    /// Votes in the steering board, Art. 7(2).
    pub votes: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { ceiling: 3, case_plane: false, votes: 32 }
    }
}

impl Policy {
    /// A policy.
    ///
    /// # Errors
    /// The ceiling is no marking.
    pub fn new(ceiling: &str, case_plane: bool) -> Result<Self, String> {
        let ceiling = rank(ceiling)
            .ok_or_else(|| format!("policy.ceiling: must be one of {}", CLASSIFICATIONS.join(", ")))?;
        Ok(Self { ceiling, case_plane, ..Self::default() })
    }

    /// The same policy with the case plane open or closed.
    #[must_use]
    pub fn with_case_plane(self, open: bool) -> Self {
        Self { case_plane: open, ..self }
    }

    /// True if a message so marked may be stored here.
    #[must_use]
    pub fn permits(&self, classification: &str) -> bool {
        rank(classification).is_some_and(|rank| rank <= self.ceiling)
    }
}

fn rank(classification: &str) -> Option<usize> {
    CLASSIFICATIONS.iter().position(|marking| *marking == classification)
}
