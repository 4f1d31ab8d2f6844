//! TEXT → SIGNALS. Arithmetic only: no clock, no network, no thread that outlives a call.
//!
//! In reading order: a package is loaded ([`load`]: [`config`], [`weights`], [`head`], [`parity`], faults in [`fault`], files opened by `files`; a folder of
//! another layout is made one by [`folder`]); a text becomes tokens
//! ([`tokenizer`]) and windows ([`window`]); the trunk turns them into hidden states ([`encoder`]); heads read those ([`head`], [`examples`],
//! [`language`]); rules read the text itself ([`lexical`]); [`scorer`] is the façade over all of it. [`train`] fits heads, [`evaluate`] measures
//! them; [`quantise`] makes packages smaller.

pub mod config;
pub mod encoder;
pub mod evaluate;
pub mod examples;
pub mod fault;
mod files;
pub mod folder;
pub mod head;
pub mod language;
pub mod lexical;
pub mod load;
pub mod parity;
pub mod quantise;
pub mod scorer;
pub mod sentence;
pub mod tokenizer;
pub mod train;
pub mod weights;
pub mod window;
