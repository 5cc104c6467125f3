import Choosing
import Measuring
import Records
import Statistics
import TensorFiles
import Units

/// What the times of a sweep say about sizes: how every curve grows, where two of them cross, and
/// what is to be expected at sizes that were not run.
///
/// The same rows and samples give the same figures to the last bit.
public struct ScalingAnalysis: Equatable, Sendable {
  /// One entry a curve, in legend order.
  public let fits: [CurveFit]
  /// Every two curves of a setting.
  public let crossovers: [Crossover]
  /// Curve by curve the held-out check and the skipped sizes.
  public let predictions: [SizePrediction]

  /// Analyses a sweep.
  ///
  /// - Parameters:
  ///   - rows: the rows of `results.csv`; of a cell that ran twice the later one counts.
  ///   - samples: the rows of `samples.csv` in file order; without them nothing has an interval but
  ///     the predictions.
  ///   - seed: of the bootstrap.
  public init(rows: [ResultRow], samples: [SampleRow], seed: UInt64 = 1) {
    let curves = ScalingCurve.curves(rows: rows, samples: samples).map {
      (curve: $0, resamples: CurveResamples($0, seed: seed))
    }
    fits = curves.map { CurveFit($0.curve, $0.resamples) }
    crossovers = Crossover.all(curves)
    predictions = curves.flatMap { SizePrediction.predictions(for: $0.curve) }
  }

  /// The names of its files.
  public static var fileNames: [String] {
    let layout = RunDirectory.Layout("")
    return [layout.fits, layout.slopes, layout.crossovers, layout.predictions].map {
      String($0.drop { $0 == "/" })
    }
  }

  /// `fits.csv`, `slopes.csv`, `crossovers.csv` and `predictions.csv` for a directory.
  package func files(in directory: String) -> [OutputFile] {
    let layout = RunDirectory.Layout(directory)
    return [
      OutputFile(layout.fits, ScalingTable.fits.text(fits)),
      OutputFile(
        layout.slopes,
        ScalingTable.slopes.text(fits.flatMap { fit in fit.slopes.map { (fit, $0) } })),
      OutputFile(layout.crossovers, ScalingTable.crossovers.text(crossovers)),
      OutputFile(layout.predictions, ScalingTable.predictions.text(predictions)),
    ]
  }
}
