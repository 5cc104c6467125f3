import Attention
import Measuring
import Records
import Statistics
import Units

/// `retrieval.csv`: a row for each strategy and bin of needles.
public enum RetrievalFile {
  /// The columns, in file order.
  public static let header = [
    "strategy", "params", "class", "heads", "kv_heads", "n_q", "n_kv", "head_dim", "value_dim",
    "causal", "seed", "side", "distance_min", "distance_max", "needles", "found", "found_share",
    "found_ci95_lo", "found_ci95_hi", "mean_cosine", "chance",
    "mass_kept", "top_keys_found",
  ]

  /// The file's text.
  public static func text(_ results: [RetrievalResult], of task: RetrievalTask) -> String {
    let shape = task.problem.shape
    let problem = [
      "\(shape.heads)", "\(shape.kvHeads)", "\(shape.queryLength)", "\(shape.keyLength)",
      "\(shape.headDim)", "\(shape.valueDim)", "\(task.problem.visibility.causal)", "\(task.seed)",
    ]
    let lines = results.flatMap { result in
      zip(task.bins, result.counts).map { bin, count in
        let strategy = [result.name, result.parameters, result.operatorClass.rawValue]
        let place = [
          bin.side.rawValue, "\(bin.distances.lowerBound)", "\(bin.distances.upperBound)",
        ]
        let figures = [
          "\(count.needles)", "\(count.found)", count.share.csvText,
          count.interval.lower.csvText, count.interval.upper.csvText, count.meanCosine.csvText,
          task.chance.csvText, count.recall?.massKept.csvText ?? "",
          count.recall?.topKeysFound.csvText ?? "",
        ]
        return CSVLine.text(strategy + problem + place + figures)
      }
    }
    return CSVLine.text(header) + lines.joined()
  }
}
