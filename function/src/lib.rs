//! claude-proxy: Claude Code keeps working when Anthropic says 429.

