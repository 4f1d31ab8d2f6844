//! The candle engine: a BERT-family encoder on candle tensors, in f32, on CPU, CUDA or Metal.
//!
//! In and out as [`super::Encoder`]. Inside, sequences are padded to the longest of the batch and the padding is masked with -inf before the
//! softmax, so it weighs exactly 0; callers keep near lengths together. Shapes in the comments: b sequences, s tokens, h hidden, n heads,
//! d = h / n.
//! From "BERT: Pre-training of Deep Bidirectional Transformers" (Devlin et al. 2019), post-norm, as the reference library computes it; parity is
//! checked at load and in `tests/it/parity.rs`.

pub use candle_core::Device;
use candle_core::Tensor;
use candle_nn::ops;

use super::{EncodeError, Encoder, EngineKind, HiddenStates, LayerWeights, Norm, TrunkWeights};
use crate::model::config::{Activation, TrunkConfig};

/// A trunk on one device.
pub struct CandleEncoder {
    config: TrunkConfig,
    device: Device,
    word_embeddings: Tensor,
    /// Position and token-type rows, already added.
    position_embeddings: Tensor,
    embedding_norm: CandleNorm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Queries, keys and values in one product: `[h, 3h]`.
    qkv: CandleLinear,
    attention_output: CandleLinear,
    attention_norm: CandleNorm,
    intermediate: CandleLinear,
    output: CandleLinear,
    output_norm: CandleNorm,
}

/// `x [m, inputs] · weight [inputs, outputs] + bias`.
struct CandleLinear {
    weight: Tensor,
    bias: Tensor,
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

impl Layer {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let linears = [&self.qkv, &self.attention_output, &self.intermediate, &self.output];
        let norms = [&self.attention_norm, &self.output_norm];
        let of_linears = linears.into_iter().flat_map(|linear| [&linear.weight, &linear.bias]);
        of_linears.chain(norms.into_iter().flat_map(CandleNorm::tensors))
    }
}

impl CandleNorm {
    fn tensors(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }
}

impl CandleEncoder {
    /// Moves the weights to the device.
    pub fn new(config: &TrunkConfig, weights: TrunkWeights, device: &Device) -> Result<Self, EncodeError> {
        Self::build(config, weights, device).map_err(device_error)
    }

    fn build(config: &TrunkConfig, weights: TrunkWeights, device: &Device) -> candle_core::Result<Self> {
        let h = config.hidden_size;
        let eps = config.layer_norm_eps as f32;
        let token_type = Tensor::from_vec(weights.token_type_embedding, (1, h), device)?;
        let positions = Tensor::from_vec(weights.position_embeddings, (config.max_position_embeddings, h), device)?;
        Ok(Self {
            word_embeddings: Tensor::from_vec(weights.word_embeddings.into_f32(h), (config.vocab_size, h), device)?,
            position_embeddings: positions.broadcast_add(&token_type)?,
            embedding_norm: CandleNorm::new(weights.embedding_norm, eps, device)?,
            layers: weights.layers.into_iter().map(|layer| Layer::new(layer, eps, device)).collect::<candle_core::Result<_>>()?,
            config: config.clone(),
            device: device.clone(),
        })
    }

    /// States after each of the given layers, each `(b·s, h)`.
    fn forward(&self, sequences: &[&[u32]], s: usize, layers: &[usize]) -> candle_core::Result<Vec<Tensor>> {
        let b = sequences.len();
        let ids: Vec<u32> = sequences
            .iter()
            .flat_map(|ids| ids.iter().copied().chain(std::iter::repeat_n(self.config.pad_token_id, s - ids.len())))
            .collect();
        let ids = Tensor::from_vec(ids, b * s, &self.device)?;
        let words = self.word_embeddings.index_select(&ids, 0)?.reshape((b, s, self.config.hidden_size))?;
        let x = words.broadcast_add(&self.position_embeddings.narrow(0, 0, s)?)?;
        let mut x = self.embedding_norm.forward(&x.reshape((b * s, self.config.hidden_size))?)?; // (b·s, h)
        let mask = self.mask(sequences, s)?;
        let mut states = Vec::with_capacity(layers.len());
        for (number, layer) in (1..).zip(&self.layers) {
            x = layer.forward(&x, mask.as_ref(), (b, s), &self.config)?;
            if layers.contains(&number) {
                states.push(x.clone());
            }
        }
        Ok(states)
    }

    /// `(b, 1, 1, s)`: 0 for a token, -inf for padding; none where all lengths are equal.
    fn mask(&self, sequences: &[&[u32]], s: usize) -> candle_core::Result<Option<Tensor>> {
        if sequences.iter().all(|ids| ids.len() == s) {
            return Ok(None);
        }
        let mask: Vec<f32> =
            sequences.iter().flat_map(|ids| (0..s).map(|at| if at < ids.len() { 0.0 } else { f32::NEG_INFINITY })).collect();
        Tensor::from_vec(mask, (sequences.len(), 1, 1, s), &self.device).map(Some)
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
        let tables = [&self.word_embeddings, &self.position_embeddings];
        let of_layers = self.layers.iter().flat_map(Layer::tensors);
        let all = tables.into_iter().chain(self.embedding_norm.tensors()).chain(of_layers);
        Some(all.map(|tensor| (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64).sum())
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

impl CandleEncoder {
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

impl Layer {
    fn new(weights: LayerWeights, eps: f32, device: &Device) -> candle_core::Result<Self> {
        Ok(Self {
            qkv: CandleLinear::new(vec![weights.query, weights.key, weights.value], device)?,
            attention_output: CandleLinear::new(vec![weights.attention_output], device)?,
            attention_norm: CandleNorm::new(weights.attention_norm, eps, device)?,
            intermediate: CandleLinear::new(vec![weights.intermediate], device)?,
            output: CandleLinear::new(vec![weights.output], device)?,
            output_norm: CandleNorm::new(weights.output_norm, eps, device)?,
        })
    }

    fn forward(&self, x: &Tensor, mask: Option<&Tensor>, (b, s): (usize, usize), config: &TrunkConfig) -> candle_core::Result<Tensor> {
        let (n, d) = (config.num_attention_heads, config.head_size());
        let qkv = self.qkv.forward(x)?.reshape((b, s, 3, n, d))?.permute((2, 0, 3, 1, 4))?; // (3, b, n, s, d)
        let [q, k, v] = [0, 1, 2].map(|part| qkv.get(part).and_then(|t| t.contiguous()));
        let scale = 1.0 / (d as f64).sqrt();
        let mut scores = (q?.matmul(&k?.t()?)? * scale)?; // (b, n, s, s)
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let weights = ops::softmax_last_dim(&scores)?;
        let context = weights.matmul(&v?)?.transpose(1, 2)?.reshape((b * s, n * d))?; // (b·s, h)
        let x = self.attention_norm.forward(&(self.attention_output.forward(&context)? + x)?)?;
        let inner = match config.hidden_act {
            Activation::GeluErf => self.intermediate.forward(&x)?.gelu_erf()?,
            Activation::Relu => self.intermediate.forward(&x)?.relu()?,
        };
        self.output_norm.forward(&(self.output.forward(&inner)? + &x)?)
    }
}

impl CandleLinear {
    /// Several that read the same inputs, as one, in their order.
    fn new(parts: Vec<super::Linear>, device: &Device) -> candle_core::Result<Self> {
        let (mut weight, mut bias, mut inputs) = (Vec::new(), Vec::new(), 0);
        for linear in parts {
            inputs = linear.inputs;
            weight.extend(linear.weight.into_f32(inputs));
            bias.extend(linear.bias);
        }
        let weight = Tensor::from_vec(weight, (bias.len(), inputs), device)?.t()?.contiguous()?;
        let outputs = bias.len();
        Ok(Self { weight, bias: Tensor::from_vec(bias, outputs, device)? })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

impl CandleNorm {
    fn new(norm: Norm, eps: f32, device: &Device) -> candle_core::Result<Self> {
        let size = norm.weight.len();
        Ok(Self { weight: Tensor::from_vec(norm.weight, size, device)?, bias: Tensor::from_vec(norm.bias, size, device)?, eps })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

fn device_error(error: candle_core::Error) -> EncodeError {
    EncodeError::Device(Box::new(error))
}
