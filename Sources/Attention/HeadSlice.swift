import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Some query heads of a problem that form a problem of their own, as strided views of the whole.
///
/// Query heads `first, first + step, ...` and key/value heads `firstKV, firstKV + stepKV, ...`,
/// where query head i of the slice reads key/value head i / (heads / kvHeads) of the slice.
struct HeadSlice: Hashable, Sendable {
  var first: Int
  var step: Int
  var heads: Int
  var firstKV: Int
  var stepKV: Int
  var kvHeads: Int

  /// The query heads, as the whole problem counts them.
  var queryHeads: [Int] { (0..<heads).map { first + $0 * step } }

  /// Slices that hold each of some query heads once, few where the heads stand regularly.
  ///
  /// Heads that share a key/value head stay together where they are evenly spaced; whole groups,
  /// and groups of which only one head is wanted, are joined across key/value heads.
  ///
  /// - Parameter heads: rising, without repetition.
  static func covering(_ heads: [Int], groupSize: Int) -> [HeadSlice] {
    var slices: [HeadSlice] = []
    for slice in heads.chunked(by: groupSize) {
      guard let last = slices.last, let joined = last.joined(slice, groupSize: groupSize) else {
        slices.append(slice)
        continue
      }
      slices[slices.count - 1] = joined
    }
    return slices
  }

  /// This slice and the next as one, where the two follow one rule.
  private func joined(_ next: HeadSlice, groupSize: Int) -> HeadSlice? {
    let perGroup = heads / kvHeads
    guard perGroup == next.heads, perGroup == 1 || perGroup == groupSize else { return nil }
    // Of whole groups only neighbours have evenly spaced heads.
    let stepKV = next.firstKV - (firstKV + (kvHeads - 1) * self.stepKV)
    let step = perGroup == 1 ? next.first - (first + (heads - 1) * self.step) : 1
    let isRegular =
      perGroup == 1
      ? kvHeads == 1 || (stepKV == self.stepKV && step == self.step) : stepKV == 1
    guard isRegular, stepKV > 0 else { return nil }
    return HeadSlice(
      first: first, step: step, heads: heads + next.heads, firstKV: firstKV, stepKV: stepKV,
      kvHeads: kvHeads + 1)
  }

  /// The slice's own problem.
  func problem(of whole: AttentionProblem) throws(AttentionError) -> AttentionProblem {
    try whole.forHeads(first, step: step, count: heads, kvHeads: kvHeads)
  }

  /// The slice's part of the whole problem's tensors.
  ///
  /// - Parameter declared: what the slice's plan takes besides; the rest is left out.
  func operands(
    of whole: AttentionOperands, declared: [OperandDeclaration]
  ) -> AttentionOperands {
    var named: [String: TensorView] = [:]
    for declaration in declared {
      guard let view = whole.inputs.named[declaration.name] else { continue }
      named[declaration.name] =
        switch declaration.axes.dropFirst().first {
        case .heads: view.heads(first, step: step, count: heads)
        case .kvHeads: view.heads(firstKV, step: stepKV, count: kvHeads)
        default: view
        }
    }
    return AttentionOperands(
      query: whole.query.heads(first, step: step, count: heads),
      key: whole.key.heads(firstKV, step: stepKV, count: kvHeads),
      value: whole.value.heads(firstKV, step: stepKV, count: kvHeads), named: named,
      output: whole.output.heads(first, step: step, count: heads),
      logSumExp: whole.logSumExp?.heads(first, step: step, count: heads),
      finalState: whole.finalState?.heads(firstKV, step: stepKV, count: kvHeads),
      keyLengths: whole.keyLengths)
  }
}

extension [Int] {
  /// Evenly spaced heads within groups of `size` consecutive numbers, each on one key/value head.
  fileprivate func chunked(by size: Int) -> [HeadSlice] {
    var slices: [HeadSlice] = []
    for head in self {
      if let last = slices.last, last.firstKV == head / size {
        let step = head - (last.first + (last.heads - 1) * last.step)
        if last.heads == 1 || step == last.step {
          slices[slices.count - 1].step = step
          slices[slices.count - 1].heads += 1
          continue
        }
      }
      slices.append(
        HeadSlice(first: head, step: 1, heads: 1, firstKV: head / size, stepKV: 1, kvHeads: 1))
    }
    return slices
  }
}
