import Attention
import CAttnbench

extension attnbench_operands {
  /// More than this are taken for a count that nobody has set.
  private static let maximumNamedCount = 64

  /// The tensors of a run, checked to be readable, writable and apart from each other. Whether they
  /// are of the plan's shapes is the plan's to say.
  ///
  /// - Parameter batch: how many key lengths there are.
  func operands(batch: Int) throws -> AttentionOperands {
    let keyLengths = numbers(key_lengths, count: batch)
    // Out of range they are refused later, by name.
    let rowsInUse = keyLengths.map { $0.max() ?? 0 }
    let (query, queryBytes) = try query.view("query")
    let (key, keyBytes) = try key.view("key", rowsInUse: rowsInUse)
    let (value, valueBytes) = try value.view("value", rowsInUse: rowsInUse)
    let (output, outputBytes) = try output.mutableView("output")
    var inputs = [("query", queryBytes), ("key", keyBytes), ("value", valueBytes)]
    var views: [String: TensorView] = [:]
    for (name, view, bytes) in try namedViews() {
      views[name] = view
      inputs.append((name, bytes))
    }
    var written = [("output", outputBytes)]
    var logSumExp: MutableTensorView?
    if !lse.isNone {
      let (view, bytes) = try lse.mutableView("lse")
      logSumExp = view
      if bytes.overlaps(outputBytes) { throw Self.overlap("lse", "output") }
      written.append(("lse", bytes))
    }
    var finalState: MutableTensorView?
    if !final_state.isNone {
      let (view, bytes) = try final_state.mutableView("final_state")
      finalState = view
      if let other = written.first(where: { bytes.overlaps($0.1) }) {
        throw Self.overlap("final_state", other.0)
      }
      written.append(("final_state", bytes))
    }
    for (target, bytes) in written {
      for (source, sourceBytes) in inputs where bytes.overlaps(sourceBytes) {
        throw Self.overlap(target, source)
      }
    }
    return AttentionOperands(
      query: query, key: key, value: value, named: views, output: output, logSumExp: logSumExp,
      finalState: finalState, keyLengths: keyLengths)
  }

  private func namedViews() throws -> [(name: String, view: TensorView, bytes: ByteRange)] {
    guard named_count > 0 else { return [] }
    guard named_count <= Self.maximumNamedCount else {
      throw InterfaceError(
        .invalidArgument,
        "operands.named_count = \(named_count): must be at most \(Self.maximumNamedCount)")
    }
    guard let named else { throw InterfaceError.null("operands.named") }
    return try UnsafeBufferPointer(start: named, count: Int(named_count)).map { entry in
      let name = try text(entry.name, "operands.named.name")
      let (view, bytes) = try entry.tensor.view(name)
      return (name, view, bytes)
    }
  }

  private static func overlap(_ written: String, _ other: String) -> InterfaceError {
    InterfaceError(
      .invalidArgument,
      "\(written): shares memory with \(other); what is written must lie apart from all else")
  }
}
