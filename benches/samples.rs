//! Samples of one measurement, and the figures drawn from them.

/// Samples, in any order.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

/// A figure calculated from the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// The median.
    Median,
    /// The smallest sample.
    Best,
    /// The 99th percentile.
    P99,
}

/// Returns the name for tables.
impl Figure {
    pub fn name(self) -> &'static str {
        match self {
            Figure::Median => "median",
            Figure::Best => "best",
            Figure::P99 => "p99",
        }
    }
}

impl FromIterator<Samples> for Samples {
    fn from_iter<I: IntoIterator<Item = Samples>>(parts: I) -> Samples {
        Samples(parts.into_iter().flat_map(|part| part.0).collect())
    }
}

impl Samples {
    /// Reads one number per line.
    pub fn parse(text: &str) -> Result<Samples, String> {
        let number = |line: &str| line.trim().parse().map_err(|_| format!("not a number: {line}"));
        Ok(Samples(text.lines().map(number).collect::<Result<_, _>>()?))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn median(&self) -> Option<f64> {
        self.figure(Figure::Median)
    }

    /// Returns a figure, or `None` if there are no samples.
    pub fn figure(&self, figure: Figure) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(match figure {
            Figure::Best => sorted[0],
            Figure::Median => (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0,
            Figure::P99 => sorted[(last as f64 * 0.99).ceil() as usize],
        })
    }
}
