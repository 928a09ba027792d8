use crate::error::Result;
use crate::install::Install;
use crate::launch::Launch;
pub struct Message;
impl Message {
    pub fn new(_: &str) -> Self {
        Message
    }
    pub fn without_preamble(self) -> Self {
        self
    }
}
#[derive(Debug)]
pub struct Receipt;
impl Receipt {
    pub fn submitted(&self) -> bool {
        false
    }
}
impl std::fmt::Display for Receipt {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub fn send(_: &Install, _: &Launch, _: &Message) -> Receipt {
    Receipt
}
#[derive(Default)]
pub struct ResetOptions;
pub enum ResetMode {
    Clear,
}
pub struct ResetReport;
impl ResetReport {
    pub fn done(&self) -> bool {
        false
    }
}
impl std::fmt::Display for ResetReport {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub fn reset(
    _: &Install,
    _: &Launch,
    _: ResetMode,
    _: &ResetOptions,
    _: &dyn Fn() -> Result<()>,
) -> Result<ResetReport> {
    Ok(ResetReport)
}
pub mod ready {
    use super::*;
    pub struct Ready {
        pub after_ms: u64,
    }
    impl Ready {
        pub fn ready(&self) -> bool {
            true
        }
        pub fn describe(&self) -> String {
            String::new()
        }
    }
    pub fn wait_ready(_: &Install, _: &Launch, _: std::time::Duration) -> Result<Ready> {
        Ok(Ready { after_ms: 0 })
    }
}
