//! A SentencePiece model → its pieces and how it reads a text.
//!
//! In: the bytes of a file `*.model`, a message in the form of Protocol Buffers, which a stranger may have written. Out: [`SentencePiece`], or in words what
//! was found instead. Only what decides the tokens of a text is read; fields that are not known are passed over. The fields are those of
//! `sentencepiece_model.proto` of google/sentencepiece.
//! Bounds: [`PIECES_MAX`] pieces, and nothing is kept that the file does not hold.

/// Largest file.
pub(super) const BYTES_MAX: u64 = 32 << 20;
/// Most pieces; the largest known vocabularies have 256,000.
const PIECES_MAX: usize = 1 << 20;

/// What is read of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SentencePiece {
    /// In the order of their ids.
    pub(super) pieces: Vec<Piece>,
    /// How texts become pieces.
    pub(super) algorithm: Algorithm,
    /// Id of the unknown piece.
    pub(super) unk_id: usize,
    /// The table of replacements, empty where there are none.
    pub(super) charsmap: Vec<u8>,
    /// Whether a text begins with a blank.
    pub(super) add_dummy_prefix: bool,
    /// Whether runs of blanks count as one.
    pub(super) remove_extra_whitespaces: bool,
    /// Whether unknown characters become bytes.
    pub(super) byte_fallback: bool,
}

/// A word, or part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// Its text, blanks as ▁.
    pub(super) text: String,
    /// Logarithm of its probability.
    pub(super) score: f32,
    /// What it is for.
    pub(super) kind: PieceKind,
}

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Stands for itself.
    Normal,
    /// Stands for what no other does.
    Unknown,
    /// Begin, end, padding: never found in a text.
    Control,
    /// Found in a text before anything else.
    UserDefined,
    /// Never used.
    Unused,
    /// One byte.
    Byte,
}

/// How texts become pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// The likeliest pieces.
    Unigram,
    /// Merges.
    Bpe,
    /// Words or characters.
    Other,
}

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<SentencePiece, String> {
    let mut model = SentencePiece {
        pieces: Vec::new(),
        algorithm: Algorithm::Unigram,
        unk_id: 0,
        charsmap: Vec::new(),
        add_dummy_prefix: true,
        remove_extra_whitespaces: true,
        byte_fallback: false,
    };
    for field in Fields(bytes) {
        match field? {
            (1, Content::Bytes(_)) if model.pieces.len() == PIECES_MAX => return Err(format!("more than {PIECES_MAX} pieces")),
            (1, Content::Bytes(bytes)) => {
                let number = model.pieces.len();
                model.pieces.push(piece(bytes).map_err(|what| format!("in piece {number}: {what}"))?);
            }
            (2, Content::Bytes(bytes)) => trainer(bytes, &mut model)?,
            (3, Content::Bytes(bytes)) => normalizer(bytes, &mut model)?,
            _ => {}
        }
    }
    match model.pieces.get(model.unk_id) {
        None if model.pieces.is_empty() => Err("no pieces".to_owned()),
        None => Err(format!("unk_id {} of {} pieces", model.unk_id, model.pieces.len())),
        Some(_) => Ok(model),
    }
}

fn piece(bytes: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
    for field in Fields(bytes) {
        match field? {
            (1, Content::Bytes(text)) => piece.text = String::from_utf8(text.to_vec()).map_err(|_| "a text that is no UTF-8")?,
            (2, Content::Four(score)) => piece.score = f32::from_bits(score),
            (3, Content::Number(kind)) => {
                piece.kind = match kind {
                    1 => PieceKind::Normal,
                    2 => PieceKind::Unknown,
                    3 => PieceKind::Control,
                    4 => PieceKind::UserDefined,
                    5 => PieceKind::Unused,
                    6 => PieceKind::Byte,
                    other => return Err(format!("type {other}")),
                }
            }
            _ => {}
        }
    }
    if piece.score.is_finite() { Ok(piece) } else { Err(format!("score {}", piece.score)) }
}

fn trainer(bytes: &[u8], model: &mut SentencePiece) -> Result<(), String> {
    for field in Fields(bytes) {
        match field? {
            (3, Content::Number(1)) => model.algorithm = Algorithm::Unigram,
            (3, Content::Number(2)) => model.algorithm = Algorithm::Bpe,
            (3, Content::Number(_)) => model.algorithm = Algorithm::Other,
            (35, Content::Number(flag)) => model.byte_fallback = flag != 0,
            (40, Content::Number(id)) => model.unk_id = usize::try_from(id).map_err(|_| format!("unk_id {id}"))?,
            _ => {}
        }
    }
    Ok(())
}

fn normalizer(bytes: &[u8], model: &mut SentencePiece) -> Result<(), String> {
    for field in Fields(bytes) {
        match field? {
            (2, Content::Bytes(table)) => model.charsmap = table.to_vec(),
            (3, Content::Number(flag)) => model.add_dummy_prefix = flag != 0,
            (4, Content::Number(flag)) => model.remove_extra_whitespaces = flag != 0,
            _ => {}
        }
    }
    Ok(())
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Content<'a> {
    Number(u64),
    Four(u32),
    Eight,
    Bytes(&'a [u8]),
}

/// The fields of a message, each with its number.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Content<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Content<'a>), String> {
        let tag = self.number()?;
        let content = match tag & 7 {
            0 => Content::Number(self.number()?),
            1 => {
                self.take(8)?;
                Content::Eight
            }
            2 => {
                let length = self.number()?;
                Content::Bytes(self.take(usize::try_from(length).map_err(|_| "a field longer than the file")?)?)
            }
            5 => {
                let four = self.take(4)?;
                Content::Four(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            }
            other => return Err(format!("a field of wire type {other}")),
        };
        Ok((tag >> 3, content))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("a field longer than the file")?;
        self.0 = rest;
        Ok(taken)
    }

    /// A varint: seven bits a byte, least first, at most ten bytes.
    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f).checked_shl(7 * place).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number of more than ten bytes".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
    }

    #[test]
    fn fields_are_read_and_unknown_ones_passed_over() {
        let unknown = field(1, &[&field(1, b"<unk>")[..], &[0x18, 2]].concat());
        let word = field(1, &[&field(1, "▁a".as_bytes())[..], &[0x15], &(-1.5f32).to_le_bytes()].concat());
        let others = [0x48, 0x96, 0x01, 0x51, 1, 2, 3, 4, 5, 6, 7, 8];
        let model =
            [&unknown[..], &word, &field(2, &[0x18, 1, 0xc0, 0x02, 0]), &field(3, &[&field(2, b"xyz")[..], &[0x18, 0]].concat()), &others]
                .concat();
        let found = read(&model).unwrap();
        assert_eq!(found.pieces[1], Piece { text: "▁a".into(), score: -1.5, kind: PieceKind::Normal });
        assert_eq!(found.pieces[0].kind, PieceKind::Unknown);
        assert_eq!(
            (found.algorithm, found.unk_id, &found.charsmap[..], found.add_dummy_prefix),
            (Algorithm::Unigram, 0, &b"xyz"[..], false)
        );
    }

    #[test]
    fn what_is_no_such_file_is_told() {
        let piece = |bytes: &[u8]| field(1, bytes);
        for (bytes, expected) in [
            (vec![], "no pieces"),
            (b"hello world".to_vec(), "a field"),
            (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "a field longer than the file"),
            (vec![0x0a, 5, 1], "a field longer than the file"),
            (vec![0xff; 20], "a number of more than ten bytes"),
            (vec![0x0b], "a field of wire type 3"),
            (piece(&[0x18, 9]), "in piece 0: type 9"),
            (piece(&field(1, &[0xff])), "in piece 0: a text that is no UTF-8"),
            (piece(&[0x15, 0, 0, 0xc0, 0x7f]), "in piece 0: score NaN"),
            ([piece(b""), field(2, &[0xc0, 0x02, 7])].concat(), "unk_id 7 of 1 pieces"),
            ([0x0a, 0].repeat(PIECES_MAX + 1), "more than 1048576 pieces"),
        ] {
            let found = read(&bytes).expect_err(expected);
            assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        }
    }
}
