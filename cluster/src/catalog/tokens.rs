//! Tokens, by name and by the digests of their secrets.

use super::{Catalog, Map};
use oribi_access::{Digest, Token};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, sync::Arc};

/// Tokens that a cluster has at once.
pub const TOKENS_MAX: usize = 100_000;
/// Tokens at once that stand for certificates by patterns with stars.
pub(super) const CERTIFICATE_PATTERNS_MAX: usize = 256;
/// Tokens that one change makes.
pub const TOKENS_AT_ONCE_MAX: usize = 1_000;

/// All tokens as of one log entry.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    by_name: Map<String, Arc<Token>>,
    /// The greatest id ever given.
    last_id: u64,
    /// Changes so far.
    epoch: u64,
    #[serde(skip)]
    by_digest: Map<Digest, Arc<Token>>,
    /// Those that stand for one identity in certificates each, by that.
    #[serde(skip)]
    by_identity: Map<(String, u64), Arc<Token>>,
    /// Those that stand for identities by a pattern, the most exact first.
    #[serde(skip)]
    by_pattern: Map<(Reverse<usize>, u64), Arc<Token>>,
}

impl Catalog {
    /// The tokens, by name.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.by_name.values()
    }

    /// How many there are.
    pub fn token_count(&self) -> usize {
        self.tokens.by_name.size()
    }

    /// The token of this name.
    pub fn token(&self, name: &str) -> Option<&Arc<Token>> {
        self.tokens.by_name.get(name)
    }

    /// The token that has, or had last, a secret of this digest.
    pub fn token_of(&self, digest: &Digest) -> Option<&Arc<Token>> {
        self.tokens.by_digest.get(digest)
    }

    /// The token that stands for certificates of this identity: one that names it, else the one with the
    /// longest pattern that fits; of several like that the first that was made.
    pub fn token_of_certificate(&self, identity: &str) -> Option<&Arc<Token>> {
        let Tokens { by_identity, by_pattern, .. } = &self.tokens;
        let named = by_identity.range((identity.to_owned(), 0)..).next();
        let named = named.filter(|((of, _), _)| of == identity).map(|(_, token)| token);
        let fits = |token: &&Arc<Token>| {
            token.rights.certificate.as_ref().is_some_and(|pattern| pattern.fits(identity))
        };
        named.or_else(|| by_pattern.values().find(fits))
    }

    /// Grows with every change of a token.
    pub fn token_epoch(&self) -> u64 {
        self.tokens.epoch
    }

    /// Makes tokens, all or none. The same ones again change nothing.
    pub(super) fn create_tokens(&mut self, new: &[Token]) -> Result<(), String> {
        if new.len() > TOKENS_AT_ONCE_MAX {
            return Err(format!("at most {TOKENS_AT_ONCE_MAX} tokens are made at once"));
        }
        for token in new {
            match self.tokens.by_name.get(&token.name) {
                Some(known) if known.digest == token.digest => continue,
                Some(_) => return Err(format!("there is a token {:?} already", token.name)),
                None => {}
            }
            self.tokens.last_id += 1;
            let token = Token { id: self.tokens.last_id, version: 1, ..token.clone() };
            self.tokens.insert(Arc::new(token));
        }
        if self.tokens.by_name.size() > TOKENS_MAX {
            return Err(format!("a cluster has at most {TOKENS_MAX} tokens"));
        }
        self.tokens.check_patterns()?;
        self.tokens.epoch += 1;
        Ok(())
    }

    /// Replaces a token by its next version. Refused where it was changed meanwhile.
    pub(super) fn change_token(&mut self, next: &Token) -> Result<(), String> {
        let name = &next.name;
        let known = self.tokens.by_name.get(name).cloned();
        let known = known.ok_or_else(|| format!("there is no token {name:?}"))?;
        if *known == *next {
            return Ok(());
        }
        if (known.id, known.version + 1) != (next.id, next.version) {
            return Err(format!("the token {name:?} was changed meanwhile"));
        }
        self.tokens.forget_look_ups(&known);
        self.tokens.insert(Arc::new(next.clone()));
        self.tokens.check_patterns()?;
        self.tokens.epoch += 1;
        Ok(())
    }

    pub(super) fn revoke_token(&mut self, name: &str) {
        let Some(known) = self.tokens.by_name.get(name).cloned() else { return };
        self.tokens.forget_look_ups(&known);
        self.tokens.by_name.remove_mut(name);
        self.tokens.epoch += 1;
    }
}

impl Tokens {
    pub(super) fn is_empty(&self) -> bool {
        self.last_id == 0
    }

    /// Makes the look-ups of tokens that were read from a file.
    pub(super) fn reindex(&mut self) {
        let all: Vec<Arc<Token>> = self.by_name.values().cloned().collect();
        (self.by_digest, self.by_identity, self.by_pattern) = Default::default();
        all.into_iter().for_each(|token| self.insert(token));
    }

    fn insert(&mut self, token: Arc<Token>) {
        for digest in digests(&token) {
            self.by_digest.insert_mut(digest, token.clone());
        }
        match identities(&token) {
            Some(Identities::One(key)) => self.by_identity.insert_mut(key, token.clone()),
            Some(Identities::Pattern(key)) => self.by_pattern.insert_mut(key, token.clone()),
            None => {}
        }
        self.by_name.insert_mut(token.name.clone(), token);
    }

    fn forget_look_ups(&mut self, token: &Token) {
        for digest in digests(token) {
            self.by_digest.remove_mut(&digest);
        }
        match identities(token) {
            Some(Identities::One(key)) => drop(self.by_identity.remove_mut(&key)),
            Some(Identities::Pattern(key)) => drop(self.by_pattern.remove_mut(&key)),
            None => {}
        }
    }

    /// Each of them is tried with a certificate that none names.
    fn check_patterns(&self) -> Result<(), String> {
        match self.by_pattern.size() > CERTIFICATE_PATTERNS_MAX {
            true => Err(format!(
                "a cluster has at most {CERTIFICATE_PATTERNS_MAX} tokens for certificates with a star in \
                 the pattern"
            )),
            false => Ok(()),
        }
    }
}

/// Where a token stands by the certificates that it is for.
enum Identities {
    One((String, u64)),
    Pattern((Reverse<usize>, u64)),
}

fn identities(token: &Token) -> Option<Identities> {
    let pattern = token.rights.certificate.as_ref()?;
    Some(match pattern.only() {
        Some(identity) => Identities::One((identity.to_owned(), token.id)),
        None => Identities::Pattern((Reverse(pattern.as_str().len()), token.id)),
    })
}

fn digests(token: &Token) -> impl Iterator<Item = Digest> {
    token.digest.into_iter().chain(token.previous.map(|one| one.digest))
}
