//! Texts that the engines are held against, where a model brings no reference answers of its own.
//!
//! What customers write: short and long, calm and not, in several languages and scripts, with what tokenizers stumble over. Few, since every start of such a
//! model scores them on the reference engine first; each fits a window of most models. Our own words.

/// At least one of them has a token in any vocabulary.
pub const TEXTS: [&str; 14] = [
    "Where is my order?",
    "THIS IS THE THIRD TIME I ASK!!! I want my money back, now.",
    "thanks, that worked perfectly :)",
    "I was charged twice for order #4471-B ($1,299.99) and nobody answers my e-mails.",
    "Can you tell me how I change the address on my account before it ships?",
    "It's ok I guess, nothing special.",
    "i cant log in since yesterday, reset link never arrives, please help im desperate",
    "My lawyer will be in touch if this is not settled by Friday.",
    "Ich warte seit zwei Wochen auf meine Rückerstattung und bin sehr enttäuscht.",
    "¿Dónde está mi paquete? Ya pasaron diez días y nadie responde.",
    "Le service était rapide, merci beaucoup à toute l'équipe !",
    "商品がまだ届きません。返金してください。",
    "Очень доволен, всё пришло вовремя 😊",
    "no",
];
