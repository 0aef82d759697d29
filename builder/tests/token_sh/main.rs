//! The rendered token.sh against a loopback HIMDS that behaves, misbehaves and attacks.

mod answer;
mod challenge;
mod himds;
mod node;
mod script;
mod trouble;

const TOKEN: &str = "eyJ0eXAi.eyJvaWQi-_~+/.c2lnbmF0dXJl==";
const KEY: &str = "c2VjcmV0LWtleQ==";
