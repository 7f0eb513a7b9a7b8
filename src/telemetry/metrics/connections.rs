//! The connections of the listeners.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::register::{counters, gauges};
use crate::telemetry::TelemetryError;

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Api,
    Operations,
}

/// Why the service ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The address had its share of connections.
    Share,
    /// It was idle after an answer.
    Idle,
    /// No request arrived in time.
    Request,
    /// The body of a request did not arrive in time.
    Body,
    /// The client did not read its answers.
    Reader,
}

/// Open connections, and those that the service ended.
#[derive(Debug)]
pub struct ConnectionMetrics {
    open: IntGaugeVec,
    cut: IntCounterVec,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        let metrics = Self {
            open: gauges(
                registry,
                "open_connections",
                "Open connections, by listener.",
                &["listener"],
            )?,
            cut: counters(
                registry,
                "cut_connections_total",
                "Connections that the service ended because the client made no progress, or its address had its share of \
                 connections, by listener and cause.",
                &["listener", "cause"],
            )?,
        };
        for listener in [Listener::Api, Listener::Operations] {
            metrics.open.with_label_values(&[listener.label()]);
            for cut in [Cut::Share, Cut::Idle, Cut::Request, Cut::Body, Cut::Reader] {
                let labels = [listener.label(), cut.label()];
                metrics.cut.with_label_values(&labels);
            }
        }
        Ok(metrics)
    }

    pub fn opened(&self, listener: Listener) {
        self.open.with_label_values(&[listener.label()]).inc();
    }

    pub fn closed(&self, listener: Listener) {
        self.open.with_label_values(&[listener.label()]).dec();
    }

    pub fn cut(&self, listener: Listener, cut: Cut) {
        let labels = [listener.label(), cut.label()];
        self.cut.with_label_values(&labels).inc();
    }
}

impl Listener {
    const fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Operations => "operations",
        }
    }
}

impl Cut {
    const fn label(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Idle => "idle",
            Self::Request => "slow-request",
            Self::Body => "slow-body",
            Self::Reader => "slow-reader",
        }
    }
}
