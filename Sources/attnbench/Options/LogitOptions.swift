import ArgumentParser
import Attention
import TensorFiles

/// What becomes of the scores beyond scale and mask, and which keys are in use.
struct LogitOptions: ParsableArguments {
  @Option(
    name: .customLong("kv-lengths"),
    help: "Keys in use, one number a batch entry, as 100,87; what follows them is padding.")
  var keyLengths: String?

  @Option(parsing: .unconditional, help: "Bound the scores: C tanh(score / C).")
  var softcap: Float?

  @Option(
    parsing: .unconditional,
    help: """
      A logit for each query head that joins the softmax without a value: numbers as -1,0.5, or \
      FILE.npy or FILE.safetensors:KEY of shape [h].
      """)
  var sinkLogits: String?

  /// The lengths as numbers.
  ///
  /// - Throws: `UsageError` naming what is no length.
  func lengths() throws(UsageError) -> [Int]? {
    guard let keyLengths else { return nil }
    var lengths: [Int] = []
    for part in keyLengths.split(separator: ",", omittingEmptySubsequences: false) {
      guard let length = Int(part) else {
        throw UsageError(
          "--kv-lengths \(keyLengths): '\(part)' is no whole number; write as 100,87")
      }
      lengths.append(length)
    }
    return lengths
  }

  /// The logits as numbers.
  ///
  /// - Throws: `UsageError` naming what is no number, or `TensorFileError`.
  func logits() throws -> [Float]? {
    guard let sinkLogits else { return nil }
    if let reference = try? TensorReference(sinkLogits) {
      let tensor = try TensorFile.read(reference)
      guard tensor.shape.count == 1 else {
        throw UsageError(
          "--sink-logits \(sinkLogits): has \(tensor.shape.count) dimensions; one logit a query "
            + "head is a tensor of shape [h]")
      }
      return tensor.withUnsafeElements { Array($0) }
    }
    var logits: [Float] = []
    for part in sinkLogits.split(separator: ",", omittingEmptySubsequences: false) {
      guard let logit = Float(part) else {
        throw UsageError(
          "--sink-logits \(sinkLogits): '\(part)' is no number; write as -1,0.5, or name a .npy "
            + "or .safetensors file")
      }
      logits.append(logit)
    }
    return logits
  }
}
