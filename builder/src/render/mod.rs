//! Renders the templates that mirror the installed tree.
