import Records
import Statistics
import Units

extension BLASEnvironment {
  /// One line about what does not hold of the environment or of the library's own choice, and why; nil
  /// when all is as it was found, and good.
  public var note: String? {
    let reasons = objections.map(reason)
    if reasons.isEmpty { return nil }
    let why = reasons.joined(separator: "; ")
    if isKept {
      guard keepsLesser else {
        return "note: \(inForce.joined(separator: ", ")) kept: \(why); \(library) runs its \(core) "
          + "kernels, which are as wide as the processor allows"
      }
      let what = inForce.isEmpty ? "" : "\(inForce.joined(separator: ", ")) in force, "
      return "warning: \(what)\(library) runs its \(core) kernels: \(why); without "
        + "\(Self.keepFlag) attnbench puts that right"
    }
    guard core != coreBefore || !removed.isEmpty else {
      return isNarrow
        ? "warning: \(library) runs its \(core) kernels: \(why); it has no others that run here and "
          + "multiply right" : nil
    }
    let kept = "; \(Self.keepFlag) leaves it all as it is"
    let what = removed.isEmpty ? "" : "\(removed.joined(separator: ", ")) not taken, "
    return "note: \(what)\(library) runs its \(core) kernels: \(why)\(kept)"
  }

  /// The same in a few words, for the record; nil where nothing was changed and nothing is in force.
  public var summary: String? {
    var parts: [String] = []
    if !removed.isEmpty { parts.append("\(removed.joined(separator: ", ")) not taken") }
    let added = inForce.filter { !found.contains($0) }
    let kept = inForce.filter(found.contains)
    if !kept.isEmpty { parts.append("\(kept.joined(separator: ", ")) in force") }
    if !added.isEmpty {
      // Kernels that ran before are put in place of no others.
      let other = core == coreBefore ? "" : " in place of \(coreBefore)"
      parts.append("\(added.joined(separator: ", ")) set by attnbench\(other)")
    }
    return parts.isEmpty ? nil : parts.joined(separator: "; ")
  }

  private var isNarrow: Bool { objections.contains(.narrow) }

  private func reason(_ objection: BLASChoice.Objection) -> String {
    switch objection {
    case .unknownKernels(let name):
      name.isEmpty
        ? "\(BLASSettings.coreType) is set and empty, which names no kernels"
        : "it has no kernels named '\(name)'"
    case .missingInstructions(let features):
      "\(coreBefore) needs \(features.joined(separator: ", ")), which this processor lacks"
    case .narrow:
      "the \(coreBefore) kernels use less than the processor's vectors" + comparison
    case .blockSizes(let names):
      "\(names.joined(separator: " and ")) would change the block sizes that belong to its kernels"
    case .openMPThreads:
      "OpenMP would give every worker threads of its own without OMP_NUM_THREADS=1"
    }
  }

  /// ` and reach 4.30 GFLOP/s a thread, Zen 79.1`.
  private var comparison: String {
    guard let rateBefore, let rate else { return "" }
    return " and reach \(SignificantDigits.three(rateBefore)) GFLOP/s a thread, \(core) "
      + SignificantDigits.three(rate)
  }
}
