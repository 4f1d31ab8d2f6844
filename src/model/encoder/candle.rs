//! The candle engine: encoders on candle tensors, in f32, on CPU, CUDA or Metal; the reference of all others, and the only engine of some families.
//!
//! In and out as [`super::Encoder`]. Inside, sequences are padded to the longest of the batch, and the padding is masked before the softmax so that it weighs
//! exactly 0; callers keep near lengths together. Shapes in the comments: b sequences, s tokens, h hidden, n heads, d = h / n.
//! Each family's layers stand in a file of their own ([`bert`], [`deberta`], [`modernbert`]), as the reference library computes them; `tests/it/families.rs` holds
//! them against it, and parity is checked at every load.

mod bert;
mod deberta;
mod modernbert;

pub use candle_core::Device;
use candle_core::Tensor;
use candle_nn::ops;

use self::bert::Bert;
use self::deberta::Deberta;
use self::modernbert::ModernBert;
use super::{EncodeError, Encoder, EngineKind, HiddenStates, LayerWeights, Norm, TrunkWeights};
use crate::model::config::{Activation, Family, TrunkConfig};

/// What is added to the score of a token that must not be seen: its weight is exactly 0 beside any other. Two of them add up to a finite number, so that a
/// row of padding that sees nothing stays finite too, and does not spoil others by a product of 0 with it.
const MASKED: f32 = -1e30;

/// A trunk on one device.
pub struct CandleEncoder {
    config: TrunkConfig,
    device: Device,
    trunk: Trunk,
    /// Numbers in all weights.
    values: usize,
}

/// By family.
enum Trunk {
    Bert(Bert),
    Deberta(Deberta),
    ModernBert(ModernBert),
}

/// Sequences as one block.
struct Batch {
    /// Sequences.
    b: usize,
    /// Tokens of the longest.
    s: usize,
    /// `(b·s)`, filled up with the padding's.
    ids: Tensor,
    /// `(b, s)`: 0 for a token, [`MASKED`] for padding; none where all lengths are equal.
    padding: Option<Tensor>,
}

/// `x [m, inputs] · weight [inputs, outputs] + bias`.
struct CandleLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

struct CandleNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

/// Which device to use, as the operator says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if this build and machine have one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The first Apple GPU.
    Metal,
}

/// Opens the device; the error says in words what is missing.
pub fn open_device(choice: DeviceChoice) -> Result<Device, String> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda if !candle_core::utils::cuda_is_available() => {
            Err("device cuda: this program was built without the feature cuda".to_owned())
        }
        DeviceChoice::Cuda => Device::new_cuda(0).map_err(|error| format!("device cuda: {error}")),
        DeviceChoice::Metal if !candle_core::utils::metal_is_available() => {
            Err("device metal: this program was built without the feature metal".to_owned())
        }
        DeviceChoice::Metal => Device::new_metal(0).map_err(|error| format!("device metal: {error}")),
        DeviceChoice::Auto if candle_core::utils::cuda_is_available() => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
        DeviceChoice::Auto if candle_core::utils::metal_is_available() => Ok(Device::new_metal(0).unwrap_or(Device::Cpu)),
        DeviceChoice::Auto => Ok(Device::Cpu),
    }
}

impl CandleEncoder {
    /// Moves the weights to the device.
    pub fn new(config: &TrunkConfig, weights: TrunkWeights, device: &Device) -> Result<Self, EncodeError> {
        let values = weights.values();
        let trunk = match weights {
            TrunkWeights::Bert(weights) => Bert::new(config, weights, device).map(Trunk::Bert),
            TrunkWeights::Deberta(weights) => {
                let Family::DebertaV2(family) = &config.family else { unreachable!("the weights are those of the configuration") };
                Deberta::new(config, family, weights, device).map(Trunk::Deberta)
            }
            TrunkWeights::ModernBert(weights) => {
                let Family::ModernBert(family) = &config.family else { unreachable!("the weights are those of the configuration") };
                ModernBert::new(config, family, weights, device).map(Trunk::ModernBert)
            }
        };
        Ok(Self { config: config.clone(), device: device.clone(), trunk: trunk.map_err(device_error)?, values })
    }

    /// States after each of the given layers, each `(b·s, h)`.
    fn forward(&self, sequences: &[&[u32]], s: usize, layers: &[usize]) -> candle_core::Result<Vec<Tensor>> {
        let batch = Batch::new(sequences, s, self.config.pad_token_id, &self.device)?;
        match &self.trunk {
            Trunk::Bert(trunk) => trunk.forward(&batch, layers),
            Trunk::Deberta(trunk) => trunk.forward(&batch, layers),
            Trunk::ModernBert(trunk) => trunk.forward(&batch, layers),
        }
    }

    /// `(b·s, h)` on the device → the states of each sequence here, without padding.
    fn unpad(&self, states: &Tensor, sequences: &[&[u32]], s: usize) -> Result<HiddenStates, EncodeError> {
        let h = self.config.hidden_size;
        let padded = states.flatten_all().and_then(|x| x.to_vec1::<f32>()).map_err(device_error)?;
        let mut states = HiddenStates::with_capacity(h, sequences.iter().map(|ids| ids.len()).sum());
        for (row, ids) in padded.chunks_exact(s * h).zip(sequences) {
            let row = &row[..ids.len() * h];
            if row.iter().any(|v| !v.is_finite()) {
                return Err(EncodeError::NotFinite);
            }
            states.push(row);
        }
        Ok(states)
    }
}

impl Encoder for CandleEncoder {
    fn kind(&self) -> EngineKind {
        EngineKind::CandleF32
    }

    fn device(&self) -> &'static str {
        match self.device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        }
    }

    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    fn weight_bytes(&self) -> Option<u64> {
        Some((self.values * size_of::<f32>()) as u64)
    }

    fn encode(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<HiddenStates>, EncodeError> {
        let s = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        if s == 0 {
            return Ok(layers.iter().map(|_| HiddenStates::with_capacity(self.config.hidden_size, 0)).collect());
        }
        let tensors = self.forward(sequences, s, layers).map_err(device_error)?;
        tensors.iter().map(|states| self.unpad(states, sequences, s)).collect()
    }
}

impl Batch {
    fn new(sequences: &[&[u32]], s: usize, pad_token_id: u32, device: &Device) -> candle_core::Result<Self> {
        let b = sequences.len();
        let ids = sequences.iter().flat_map(|ids| ids.iter().copied().chain(std::iter::repeat_n(pad_token_id, s - ids.len())));
        let mask = || sequences.iter().flat_map(|ids| (0..s).map(|at| if at < ids.len() { 0.0 } else { MASKED }));
        let is_padded = sequences.iter().any(|ids| ids.len() < s);
        Ok(Self {
            b,
            s,
            ids: Tensor::from_vec(ids.collect(), b * s, device)?,
            padding: if is_padded { Some(Tensor::from_vec(mask().collect(), (b, s), device)?) } else { None },
        })
    }

    /// Queries, keys and values, each `(b, n, s, d)`, of a product `(b·s, 3h)`.
    fn heads(&self, qkv: &Tensor, n: usize) -> candle_core::Result<[Tensor; 3]> {
        let d = qkv.dim(1)? / 3 / n;
        let qkv = qkv.reshape((self.b, self.s, 3, n, d))?.permute((2, 0, 3, 1, 4))?; // (3, b, n, s, d)
        let part = |part: usize| qkv.get(part).and_then(|heads| heads.contiguous());
        Ok([part(0)?, part(1)?, part(2)?])
    }

    /// What the heads `(b, n, s, d)` see by scores `(b, n, s, s)`, padding left out: `(b·s, h)`.
    fn attend(&self, scores: Tensor, values: &Tensor) -> candle_core::Result<Tensor> {
        let (b, n, s, d) = values.dims4()?;
        let scores = match &self.padding {
            Some(padding) => scores.broadcast_add(&padding.reshape((b, 1, 1, s))?)?,
            None => scores,
        };
        ops::softmax_last_dim(&scores)?.matmul(values)?.transpose(1, 2)?.reshape((b * s, n * d))
    }
}

/// A layer of BERT after its attention, which DeBERTa shares.
struct AfterAttention {
    attention_output: CandleLinear,
    attention_norm: CandleNorm,
    intermediate: CandleLinear,
    activation: Activation,
    output: CandleLinear,
    output_norm: CandleNorm,
}

impl AfterAttention {
    /// Queries, keys and values in one product, `[h, 3h]`, and the rest.
    fn new(config: &TrunkConfig, weights: LayerWeights, device: &Device) -> candle_core::Result<(CandleLinear, Self)> {
        let eps = config.layer_norm_eps;
        let qkv = CandleLinear::new([weights.query, weights.key, weights.value], device)?;
        let rest = Self {
            attention_output: CandleLinear::new([weights.attention_output], device)?,
            attention_norm: CandleNorm::new(weights.attention_norm, eps, device)?,
            intermediate: CandleLinear::new([weights.intermediate], device)?,
            activation: config.hidden_act,
            output: CandleLinear::new([weights.output], device)?,
            output_norm: CandleNorm::new(weights.output_norm, eps, device)?,
        };
        Ok((qkv, rest))
    }

    /// States before attention and what it saw, each `(b·s, h)` → states after the layer.
    fn forward(&self, x: &Tensor, context: &Tensor) -> candle_core::Result<Tensor> {
        let x = self.attention_norm.forward(&(self.attention_output.forward(context)? + x)?)?;
        let inner = activate(self.activation, &self.intermediate.forward(&x)?)?;
        self.output_norm.forward(&(self.output.forward(&inner)? + &x)?)
    }
}

impl CandleLinear {
    /// Several that read the same inputs, as one, in their order.
    fn new(parts: impl IntoIterator<Item = super::Linear>, device: &Device) -> candle_core::Result<Self> {
        let (mut weight, mut bias, mut inputs, mut outputs) = (Vec::new(), Vec::new(), 0, 0);
        for linear in parts {
            inputs = linear.inputs;
            outputs += linear.outputs;
            weight.extend(linear.weight.into_f32(inputs));
            bias.extend(linear.bias);
        }
        let weight = Tensor::from_vec(weight, (outputs, inputs), device)?.t()?.contiguous()?;
        Ok(Self { weight, bias: if bias.is_empty() { None } else { Some(Tensor::from_vec(bias, outputs, device)?) } })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = x.matmul(&self.weight)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl CandleNorm {
    fn new(norm: Norm, eps: f64, device: &Device) -> candle_core::Result<Self> {
        let size = norm.weight.len();
        Ok(Self { weight: Tensor::from_vec(norm.weight, size, device)?, bias: Tensor::from_vec(norm.bias, size, device)?, eps: eps as f32 })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

fn activate(activation: Activation, x: &Tensor) -> candle_core::Result<Tensor> {
    match activation {
        Activation::GeluErf => x.gelu_erf(),
        Activation::Relu => x.relu(),
    }
}

fn device_error(error: candle_core::Error) -> EncodeError {
    EncodeError::Device(Box::new(error))
}
