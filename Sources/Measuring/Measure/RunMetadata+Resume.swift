import Records
import Statistics
import Units

extension RunMetadata {
  /// Options that say how long one sitting may take, which a resume may change, and the name of the
  /// inputs, which are compared by what they hold.
  private static let freeOptions: Set<String> = ["--budget", "--inputs"]

  /// What makes the results of this run and of an earlier one not comparable, one sentence each;
  /// empty when a resume may mix them.
  public func differences(from earlier: RunMetadata) -> [String] {
    var found: [String] = []
    func compare(_ what: String, _ now: String?, _ then: String?) {
      if now != then { found.append("\(what) was \(then ?? "unknown"), is \(now ?? "unknown")") }
    }
    compare("host", machine.hostname, earlier.machine.hostname)
    compare("processor", machine.cpuModel, earlier.machine.cpuModel)
    compare("system", machine.system, earlier.machine.system)
    compare("topology", machine.topologySummary, earlier.machine.topologySummary)
    compare("cores", "\(machine.cores)", "\(earlier.machine.cores)")
    compare("version", toolVersion, earlier.toolVersion)
    compare("commit", build.commit, earlier.build.commit)
    // Earlier versions did not record it.
    if let program = earlier.build.program, build.commit == earlier.build.commit {
      compare("program", build.program?.description, program.description)
    }
    compare("compiler", build.compiler, earlier.build.compiler)
    compare("compiler flags", build.compilerFlags, earlier.build.compilerFlags)
    compare("BLAS", blas.library, earlier.blas.library)
    compare("BLAS kernel", blas.core, earlier.blas.core)
    compare("instruction set", isaChosen, earlier.isaChosen)
    compare("inputs", inputs?.identity ?? "random", earlier.inputs?.identity ?? "random")
    compare("seed", "\(seed)", "\(earlier.seed)")
    let names = Set(options.keys).union(earlier.options.keys)
    for name in names.subtracting(Self.freeOptions).sorted() {
      compare(name, options[name], earlier.options[name])
    }
    return found
  }
}

extension RunMetadata.Inputs {
  /// What a resume compares: the bytes, and which of the tensors in them; not the name.
  fileprivate var identity: String {
    content.description + (prefix.map { ", prefix '\($0)'" } ?? "")
  }
}
