//! The log of the programs that run environments: on standard error, as standard output is for
//! results.

use log::LevelFilter;
use simple_logger::SimpleLogger;

/// Logs what these programs do. `verbose`: also what the APIs were asked and what they answered.
pub fn log_to_stderr(verbose: bool) {
    let level = if verbose { LevelFilter::Debug } else { LevelFilter::Info };
    let logger = SimpleLogger::new().with_level(LevelFilter::Warn);
    let logger = logger.with_module_level("sandbox", level).with_module_level("size_report", level);
    // It fails only where another logger was set before.
    let _ = logger.init();
}
